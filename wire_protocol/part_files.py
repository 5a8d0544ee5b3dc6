"""Part files: blobs being received, on disk, so that a restart goes on where it was.

`<sha256>.part` has the blob's size from the start, so that a full disk is found before
anything is downloaded. `<sha256>.map` says what of it counts:

    magic "EFDP" | u32 block size | u64 blob size | SHA-256 of the blob | u32 stride |
    u32 CRC-32 of all before and the hashes | hashes, 32 bytes each | bitmap of blocks

A stride of 0 means that the list of hashes has not come. The bitmap is overwritten in
place: it only says what the part already holds, and a torn one costs some blocks that
the hashes or the digest find wrong. Files that are not what they must be are none.
"""

import contextlib
import errno
import os
import struct
import time
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wire_protocol.atomic_file import write_atomically
from wire_protocol.blobs import MAX_BLOCK_BYTES, MAX_BLOCKS, BlobRef, BlockList
from wire_protocol.cutting import HASH_BYTES, Cut, Listing
from wire_protocol.errors import DecodeError, RefusedError

_HEAD: Final = struct.Struct("<4sIQ32sI")
_CRC: Final = struct.Struct("<I")
_MAGIC: Final = b"EFDP"
_MAX_MAP_BYTES: Final = 1024 + MAX_BLOCK_BYTES + MAX_BLOCKS // 8
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DiskFullError(RefusedError):
    """There is no room for what is to be received."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a map says: the list of hashes, if it had come, and the bitmap."""

    listing: Listing | None
    here: bytes


class PartFile:
    """One blob being received; no file is open between the calls.

    Every call may raise ``DiskFullError`` or, for other trouble, ``RefusedError``.
    """

    def __init__(self, folder: "PartFolder", ref: BlobRef, *, block_bytes: int) -> None:
        self._folder = folder
        self._ref = ref
        self._cut = Cut(ref.size, block_bytes)
        self._path = folder.path / f"{ref.sha256}.part"
        self._map = folder.path / f"{ref.sha256}.map"
        with _typed(self._path):
            self.remembered = self._remembered() or self._anew()
        self._mapped: Listing | None = self.remembered.listing

    def write(self, start: int, body: bytes) -> None:
        """Write ``body`` at offset ``start``."""
        with _typed(self._path), _opened(self._path, os.O_WRONLY) as file:
            _write_all(file, body, at=start)
        self._folder.bytes_written += len(body)

    def read(self, start: int, length: int) -> bytes:
        """Return ``length`` bytes from offset ``start`` on."""
        with _typed(self._path), self._path.open("rb", buffering=0) as file:
            file.seek(start)
            content = bytearray(length)
            view = memoryview(content)
            got = 0
            while got < length and (count := file.readinto(view[got:])):
                got += count
            view.release()
            return bytes(content)

    def save(self, listing: Listing | None, here: bytes) -> None:
        """Make what was written last, then say in the map what it is."""
        with _typed(self._map):
            if self._folder.durable:
                with _opened(self._path, os.O_WRONLY) as file:
                    os.fdatasync(file)
            if listing != self._mapped:
                self._write_map(listing, here)
                return
            with _opened(self._map, os.O_WRONLY) as file:
                _write_all(file, here, at=self._map_bytes(listing) - len(here))
                if self._folder.durable:
                    os.fdatasync(file)
        self._folder.bytes_written += len(here)

    def move_to(self, path: Path) -> None:
        """Make the part, which is whole and right, the file ``path``."""
        with _typed(path):
            with _opened(self._path, os.O_WRONLY) as file:
                os.fsync(file)
            self._path.replace(path)
            with _opened(path.parent, os.O_RDONLY) as folder:
                os.fsync(folder)
            self._map.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove both files."""
        with _typed(self._path):
            self._map.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)

    def _anew(self) -> Remembered:
        """Reserve the room, and forget what was there."""
        self._map.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)
        try:
            with _opened(self._path, os.O_WRONLY | os.O_CREAT) as file:
                os.posix_fallocate(file, 0, self._ref.size)
            nothing = bytes(-(-self._cut.count // 8))
            self._write_map(None, nothing)
        except OSError:
            self.discard()
            raise
        return Remembered(None, nothing)

    def _remembered(self) -> Remembered | None:
        """Read the map, if it and the part are what they must be."""
        try:
            if self._path.stat().st_size != self._ref.size:
                return None
            with self._map.open("rb") as file:
                raw = file.read(_MAX_MAP_BYTES + 1)
        except OSError:
            return None
        return parse_map(raw, ref=self._ref, block_bytes=self._cut.block_bytes)

    def _write_map(self, listing: Listing | None, here: bytes) -> None:
        stride, hashes = 0, b""
        if listing is not None:
            stride, hashes = listing.head.stride, listing.hashes
        digest = bytes.fromhex(self._ref.sha256)
        sizes = self._cut.block_bytes, self._ref.size
        head = _HEAD.pack(_MAGIC, *sizes, digest, stride)
        content = head + _CRC.pack(zlib.crc32(head + hashes)) + hashes + here
        write_atomically(self._map, content)
        self._mapped = listing
        self._folder.bytes_written += len(content)

    def _map_bytes(self, listing: Listing | None) -> int:
        hashes = len(listing.hashes) if listing else 0
        return _HEAD.size + _CRC.size + hashes + -(-self._cut.count // 8)


class PartFolder:
    """The folder of a receiver's part files.

    ``durable`` files survive a power cut. Without, only a kill of the process is safe;
    after a power cut the hashes find what is wrong, at the cost of its bytes.
    ``bytes_written`` counts what goes to the disk, for those who have a write budget.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self.durable = durable
        self.bytes_written = 0

    def open(self, ref: BlobRef, *, block_bytes: int) -> PartFile:
        """Return the part of ``ref``, resumed if it was cut alike, else anew.

        Raises:
            DiskFullError: There is no room for the blob.
            RefusedError: The folder cannot be written.
            DecodeError: The blob has too many blocks.
        """
        with _typed(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        return PartFile(self, ref, block_bytes=block_bytes)


def parse_map(raw: bytes, *, ref: BlobRef, block_bytes: int) -> Remembered | None:
    """Return what a map says of ``ref``, or None if it is none of this cut."""
    fixed = _HEAD.size + _CRC.size
    if len(raw) < fixed:
        return None
    magic, found_bytes, size, digest, stride = _HEAD.unpack_from(raw)
    expected = (_MAGIC, block_bytes, ref.size, ref.sha256)
    if (magic, found_bytes, size, digest.hex()) != expected:
        return None
    count = Cut(size, block_bytes).count
    bitmap_bytes = -(-count // 8)
    groups = -(-count // stride) if stride else 0
    hashes_end = fixed + groups * HASH_BYTES
    if len(raw) != hashes_end + bitmap_bytes:
        return None
    hashes, here = raw[fixed:hashes_end], raw[hashes_end:]
    (crc,) = _CRC.unpack_from(raw, _HEAD.size)
    if crc != zlib.crc32(raw[: _HEAD.size] + hashes):
        return None
    if int.from_bytes(here, "little") >> count:
        return None
    listing = None
    if stride:
        with contextlib.suppress(DecodeError):
            listing = Listing(BlockList(ref, block_bytes, stride), hashes)
    return Remembered(listing, here)


def collect_stale(
    folder: Path,
    *,
    keep: Collection[str],
    older_than_s: float,
    most_bytes: int,
    now: float | None = None,
) -> int:
    """Remove parts that nobody wants any more; return how many.

    Parts of the digests in ``keep`` stay. Of the others goes what was not written to
    for ``older_than_s``, and the oldest while all that stays is over ``most_bytes``.
    ``now`` is in seconds since 1970. A wrong clock only costs what could be resumed.
    """
    at = time.time() if now is None else now
    found: list[tuple[float, int, Path]] = []
    kept_bytes = removed = 0
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.suffix == ".map" and not path.with_suffix(".part").exists():
                _remove(path)
            if path.suffix != ".part":
                continue
            with contextlib.suppress(OSError):
                known = path.stat()
                kept_bytes += known.st_size
                if path.stem not in keep:
                    found.append((known.st_mtime, known.st_size, path))
    for written, size, path in sorted(found):
        if at - written <= older_than_s and kept_bytes <= most_bytes:
            break
        _remove(path.with_suffix(".map"))
        _remove(path)
        kept_bytes -= size
        removed += 1
    return removed


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _write_all(file: int, content: bytes, *, at: int) -> None:
    view = memoryview(content)
    while view:
        count = os.pwrite(file, view, at)
        view, at = view[count:], at + count


@contextlib.contextmanager
def _typed(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(
                f"no room on the disk for {path}", remedy="free some disk space"
            ) from error
        raise RefusedError(
            f"{path} cannot be used: {error.strerror or error}",
            remedy="correct state_dir, or the rights of its folder",
        ) from error
