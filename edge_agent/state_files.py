"""What the agent keeps in its state folder: written whole, or refused with a remedy."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import ConfigError, RefusedError

_REMEDY = "give [agent] state_dir a writable folder with space"


@contextlib.contextmanager
def held_alone(folder: Path) -> Iterator[None]:
    """Keep ``folder`` to this process while the block runs.

    Raises:
        RefusedError: Another agent has it.
        ConfigError: The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "agent.lock").open("wb")
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


def write_state(path: Path, content: bytes) -> None:
    """Write ``path`` atomically, in a folder made if need be.

    Raises:
        ConfigError: The folder cannot be made or written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}",
            remedy=_REMEDY,
        ) from error
