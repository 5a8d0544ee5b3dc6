"""Windows: examples cut from rows, with the labels that came with them.

A gap empties the window that is being filled, so that no example spans one. This
module is pure.

>>> windows = Windows(channels=1, length=2, hop=1)
>>> [windows.push((float(n),), None) is not None for n in range(4)]
[False, True, True, True]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from wire_protocol.params import Vector

Label: TypeAlias = int | None


@dataclass(frozen=True, slots=True)
class Window:
    """Rows ``[length + ahead, C]`` in order, and the label of each of ``length``."""

    rows: Vector
    labels: tuple[Label, ...]


class Windows:
    """Cuts windows of ``length`` rows, each ``hop`` rows after the one before.

    ``ahead`` more rows are waited for, to know what came after the window.
    """

    def __init__(self, *, channels: int, length: int, hop: int, ahead: int = 0) -> None:
        self._length = length
        self._hop = hop
        self._rows = np.zeros((length + ahead, channels), np.float32)
        self._labels: list[Label] = []
        self._skip = 0

    def push(self, row: Sequence[float] | None, label: Label) -> Window | None:
        """Take a row, or a gap; return the window that it completes."""
        if row is None:
            self._labels.clear()
            self._skip = 0
            return None
        if self._skip:
            self._skip -= 1
            return None
        self._rows[len(self._labels)] = row
        self._labels.append(label)
        size = len(self._rows)
        if len(self._labels) < size:
            return None
        made = Window(self._rows.copy(), tuple(self._labels[: self._length]))
        kept = max(0, size - self._hop)
        self._rows[:kept] = self._rows[size - kept :].copy()
        del self._labels[: size - kept]
        self._skip = max(0, self._hop - size)
        return made
