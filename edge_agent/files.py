"""Files that are whole or absent, whatever happens while they are written."""

import os
from pathlib import Path

from wire_protocol.errors import ConfigError


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``path`` so that a power cut leaves the old content or the new.

    Raises:
        ConfigError: The folder cannot be made or written to.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}",
            remedy="give [agent] state_dir a writable folder with space",
        ) from error
