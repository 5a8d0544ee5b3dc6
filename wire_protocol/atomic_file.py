"""Files that are whole or absent, whatever happens while they are written."""

import os
from pathlib import Path


def write_atomically(path: Path, *parts: bytes | memoryview) -> None:
    """Write ``path`` so that a power cut leaves the old content or the new.

    The content is ``parts``, one after the other. A file in use, even mapped into
    memory, keeps its old content for who has it open.

    Raises:
        OSError: It cannot be written; its folder must exist. Nothing is left beside
            it, so that a full disk gets no fuller.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with temporary.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
