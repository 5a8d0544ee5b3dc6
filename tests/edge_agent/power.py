"""A state folder that fails at a chosen write: a power cut, or a disk that is full.

The dying process may do what it likes: after the cut nothing reaches the folder.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wire_protocol.atomic_file import write_atomically

When = Literal["before", "after"]


@dataclass
class PowerCut:
    """Cuts the power before or after write number ``at``, counted from 0."""

    at: int
    when: When
    happens: Callable[[], None]
    seen: int = 0
    out: bool = False

    def replace_file(self, path: Path, *parts: bytes) -> None:
        """Write, unless the power is out."""
        if self.out:
            raise OSError(errno.EIO, "the power is out")
        hit, self.seen = self.seen == self.at, self.seen + 1
        if not (hit and self.when == "before"):
            write_atomically(path, *parts)
        if hit:
            self.out = True
            self.happens()
            if self.when == "before":
                raise OSError(errno.EIO, "the power is out")


@dataclass
class FullDisk:
    """Has no space for write number ``at`` and the ``times - 1`` that follow."""

    at: int
    times: int = 1
    seen: list[str] = field(default_factory=list)

    def replace_file(self, path: Path, *parts: bytes) -> None:
        """Write, if there is space."""
        number = len(self.seen)
        self.seen.append(path.name)
        if self.at <= number < self.at + self.times:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_atomically(path, *parts)
