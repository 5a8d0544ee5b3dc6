"""What the agent writes to its state folder, always whole, and how many bytes."""

import contextlib
import fcntl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from wire_protocol.atomic_file import append_durably, write_atomically
from wire_protocol.errors import ConfigError, RefusedError

LOCK: Final = "agent.lock"
"""In the state folder; held by the agent that uses it."""
_REMEDY = "give [agent] state_dir a writable folder with space"


class StorageError(ConfigError):
    """The state folder cannot be written; a later attempt may succeed."""


@contextlib.contextmanager
def held_alone(folder: Path) -> Iterator[None]:
    """Keep ``folder`` to this process while the block runs.

    Raises:
        RefusedError: Another agent has it.
        ConfigError: The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("wb")
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be used: {error.strerror}", remedy=_REMEDY
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RefusedError(
                f"another agent is using {folder}",
                remedy="stop it, or give this one another [agent] device and state_dir",
            ) from None
        yield


class StateFiles:
    """The one place that writes to the state folder, and counts what it writes.

    SD cards wear out by being written to: an idle agent writes next to nothing, and
    ``written_bytes`` shows it. ``write`` may be called by any thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        replace_file: Callable[..., None] = write_atomically,
        append_file: Callable[..., None] = append_durably,
    ) -> None:
        self.folder = folder.absolute()
        self._replace_file = replace_file
        self._append_file = append_file
        self._counting = threading.Lock()
        self.written_bytes = 0
        """Since this process began."""

    def write(self, path: Path, *parts: bytes | memoryview) -> None:
        """Write ``path`` atomically, in a folder made if need be.

        Raises:
            StorageError: The folder cannot be made or written to.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._replace_file(path, *parts)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be written: {error.strerror}", remedy=_REMEDY
            ) from error
        self.wrote(sum(len(part) for part in parts))

    def append(self, path: Path, data: bytes, *, at: int) -> None:
        """Write ``data`` at byte ``at``, where ``path`` ends so far.

        Raises:
            StorageError: It cannot be written; the first ``at`` bytes are as before.
        """
        try:
            self._append_file(path, data, at=at)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be written: {error.strerror}", remedy=_REMEDY
            ) from error
        self.wrote(len(data))

    def wrote(self, count: int) -> None:
        """Count bytes that were written to the folder by other means."""
        with self._counting:
            self.written_bytes += count

    def remove(self, path: Path) -> None:
        """Remove ``path`` if it is there and can be removed."""
        with contextlib.suppress(OSError):
            path.unlink()
