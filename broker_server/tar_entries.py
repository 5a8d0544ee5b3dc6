"""Entries of a tar file, read strictly: plain files with short names, nothing else.

The standard library's reader also follows links, extensions and sparse maps, and reads
as much as a header claims. This one refuses what ``backup.py`` does not write.
The format is POSIX.1-1988, "ustar".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Final

from wire_protocol.errors import RefusedError

BLOCK: Final = 512
CHUNK_BYTES: Final = 1 << 16
_PLAIN_FILE: Final = b"0"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file; its ``chunks`` must be read before the next entry is asked for."""

    name: str
    size: int
    chunks: Callable[[], Iterator[bytes]]


def entries(file: IO[bytes]) -> Iterator[Entry]:
    """Yield the entries of ``file``, which ends with two empty blocks.

    Raises:
        RefusedError: It is cut short, or has an entry that is no plain file.
    """
    while any(header := _exactly(file, BLOCK)):
        name, size = _parse(header)
        yield Entry(name, size, partial(_chunks, file, size))
    if any(_exactly(file, BLOCK)):
        raise unsound("an empty block in its middle")


def _chunks(file: IO[bytes], size: int) -> Iterator[bytes]:
    left = size
    while left:
        chunk = _exactly(file, min(left, CHUNK_BYTES))
        left -= len(chunk)
        yield chunk
    _exactly(file, -size % BLOCK)


def _parse(header: bytes) -> tuple[str, int]:
    blank = header[:148] + b" " * 8 + header[156:]
    if header[156:157] != _PLAIN_FILE or header[257:262] != b"ustar":
        raise unsound("an entry is no plain file")
    if sum(blank) != _octal(header[148:156]):
        raise unsound("a header's checksum is wrong")
    name, _, rest = header[:100].partition(b"\0")
    if any(rest) or any(header[345:500]) or not name.isascii():
        raise unsound("a name is too long")
    return name.decode("ascii"), _octal(header[124:136])


def _octal(field: bytes) -> int:
    digits = field.rstrip(b"\0 ")
    if not digits or not set(digits) <= set(b"01234567"):
        raise unsound("a number is none")
    return int(digits, 8)


def _exactly(file: IO[bytes], count: int) -> bytes:
    found = file.read(count)
    if len(found) != count:
        raise unsound("it is cut short")
    return found


def unsound(problem: str) -> RefusedError:
    """Return the error of a backup that must not be restored."""
    return RefusedError(
        f"the backup is damaged or none of ours: {problem}",
        remedy="use another backup; nothing was restored",
    )
