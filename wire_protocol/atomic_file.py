"""Files that are whole or absent, or grow by whole parts, whatever happens."""

import contextlib
import os
from pathlib import Path


def write_atomically(path: Path, *parts: bytes | memoryview, mode: int = 0o666) -> None:
    """Write ``path`` so that a power cut leaves the old content or the new.

    The content is ``parts``, one after the other. A file in use, even mapped into
    memory, keeps its old content for who has it open. ``mode`` is who may use it, less
    the umask; secrets have 0o600.

    Raises:
        OSError: It cannot be written; its folder must exist. Nothing is left beside
            it, so that a full disk gets no fuller.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)  # its mode may be another
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(temporary, flags, mode), "wb") as file:  # noqa: PTH123
            file.writelines(parts)
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


def append_durably(path: Path, data: bytes | memoryview, *, at: int) -> None:
    """Write ``data`` at byte ``at`` of ``path`` and end the file there, on the disk.

    What a former attempt left behind byte ``at`` is overwritten. A power cut leaves the
    first ``at`` bytes, and any part of ``data``.

    Raises:
        OSError: It cannot be written; the file ends at ``at`` again, if that can be.
    """
    with path.open("r+b", buffering=0) as file:
        file.truncate(at)
        file.seek(at)
        try:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(at)
            raise
