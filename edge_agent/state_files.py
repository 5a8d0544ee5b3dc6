"""What the agent keeps in its state folder: written whole, or refused with a remedy."""

from pathlib import Path

from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import ConfigError


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
            remedy="give [agent] state_dir a writable folder with space",
        ) from error
