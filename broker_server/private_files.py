"""Private files: for their owner only, whole or absent; trouble is told in one line."""

from pathlib import Path

from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import ConfigError


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        write_atomically(path, content, mode=0o600)
    except OSError as error:
        raise unusable(path, error) from error


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        ConfigError: It cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unusable(path, error) from error


def unusable(path: Path, error: OSError) -> ConfigError:
    """Return what to tell of a file or folder that ``error`` is about."""
    return ConfigError(
        f"{path} cannot be used: {error.strerror}",
        remedy="run this as the user the fleet's folder belongs to",
    )
