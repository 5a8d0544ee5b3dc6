"""Block transfer: blobs cut so that no payload exceeds the block size.

Blobs are known by their SHA-256. The receiver drives: it asks for what it lacks, takes
blocks in any order, any number of times, and holds the outcome only when its digest is
right. Uplink and downlink use the same blocks. This module is pure.

>>> ref, frames = cut(b"some bytes" * 500, block_bytes=1024)
>>> assembly = Assembly(ref, block_bytes=1024, max_bytes=1 << 20)
>>> done = [assembly.add(*expect(Block, raw)) for raw in reversed(frames)]
>>> done[-1] == b"some bytes" * 500
True
"""

import hashlib
from typing import Final

from wire_protocol.blobs import SHORT_DIGEST, BlobRef, Block
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect, frame

__all__ = [
    "Assembly",
    "Block",
    "blob_ref",
    "block_count",
    "cut",
    "expect",
    "transfer_id",
]

HEADER_RESERVE: Final = 256
"""Bytes of a block that its frame's magic, length and header may take."""


def blob_ref(blob: bytes) -> BlobRef:
    """Return the name of ``blob``."""
    return BlobRef(hashlib.sha256(blob).hexdigest(), len(blob))


def transfer_id(ref: BlobRef) -> str:
    """Return the short name of a blob on its way up."""
    return ref.sha256[:SHORT_DIGEST]


def block_count(size: int, *, block_bytes: int) -> int:
    """Return how many blocks carry ``size`` bytes."""
    return -(-size // (block_bytes - HEADER_RESERVE))


def cut(blob: bytes, *, block_bytes: int) -> tuple[BlobRef, list[bytes]]:
    """Return the blob's name and the frames of its blocks, in order."""
    ref = blob_ref(blob)
    count = block_count(ref.size, block_bytes=block_bytes)
    return ref, [
        block_frame(blob, ref, index=index, count=count, block_bytes=block_bytes)
        for index in range(count)
    ]


def block_frame(
    blob: bytes, ref: BlobRef, *, index: int, count: int, block_bytes: int
) -> bytes:
    """Return the frame of block ``index``."""
    body_bytes = block_bytes - HEADER_RESERVE
    body = blob[index * body_bytes : (index + 1) * body_bytes]
    return frame(Block(ref, index, count), body)


class Assembly:
    """A blob being received. Memory is the blob's size, allocated once."""

    def __init__(self, ref: BlobRef, *, block_bytes: int, max_bytes: int) -> None:
        if ref.size > max_bytes:
            raise DecodeError(
                f"a blob of {ref.size} bytes is over the limit of {max_bytes}",
                reason=Reason.TOO_LARGE,
            )
        self.ref = ref
        self._body_bytes = block_bytes - HEADER_RESERVE
        self._count = block_count(ref.size, block_bytes=block_bytes)
        self._buffer = bytearray(ref.size)
        self._have: set[int] = set()

    def add(self, block: Block, body: bytes) -> bytes | None:
        """Take a block; return the blob when it is whole, else None.

        Raises:
            DecodeError: The block contradicts the blob's name or the block size, or the
                whole has another digest; the assembly is then empty again.
        """
        if block.blob != self.ref or block.count != self._count:
            raise DecodeError(
                f"a block of {block.blob} in {block.count}, "
                f"expected {self.ref} in {self._count}"
            )
        start = block.index * self._body_bytes
        expected = min(self._body_bytes, self.ref.size - start)
        if len(body) != expected:
            raise DecodeError(
                f"block {block.index} has {expected} bytes, not {len(body)}"
            )
        self._buffer[start : start + expected] = body
        self._have.add(block.index)
        if len(self._have) < self._count:
            return None
        blob = bytes(self._buffer)
        if hashlib.sha256(blob).hexdigest() != self.ref.sha256:
            self._have.clear()
            raise DecodeError(f"blob {self.ref.sha256[:12]} has another digest")
        return blob

    def missing(self) -> str:
        """Return the bitmap of missing blocks, in hex, for ``Need``."""
        return f"{sum(1 << i for i in range(self._count) if i not in self._have):x}"


def wanted_blocks(wanted: str, *, count: int) -> list[int]:
    """Return the block numbers a ``Need`` asks for."""
    bits = int(wanted or "0", 16)
    return [index for index in range(count) if bits >> index & 1]
