"""Cutting: how a blob becomes blocks, and the hashes by which each can be judged.

Both sides cut alike: a blob and a block size determine every block, its frame and the
list of hashes. This module is pure.

>>> cut_of = Cut(size=5000, block_bytes=1024)
>>> cut_of.count, cut_of.span(6)
(7, (4608, 392))
>>> bitmap([0, 2]), wanted_blocks("5", count=7)
('5', [0, 2])
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from wire_protocol.blobs import (
    MAX_BLOCKS,
    MIN_BLOCK_BYTES,
    SHORT_DIGEST,
    BlobRef,
    Block,
    BlockList,
)
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import frame
from wire_protocol.link import PACKET_OVERHEAD_BYTES

HEADER_RESERVE: Final = 256
"""Bytes of a block that its frame's magic, length and header may take."""
HASH_BYTES: Final = 32


def blob_ref(blob: bytes) -> BlobRef:
    """Return the name of ``blob``."""
    return BlobRef(hashlib.sha256(blob).hexdigest(), len(blob))


def transfer_id(ref: BlobRef) -> str:
    """Return the short name of a blob on its way up."""
    return ref.sha256[:SHORT_DIGEST]


def block_count(size: int, *, block_bytes: int) -> int:
    """Return how many blocks carry ``size`` bytes."""
    return -(-size // (block_bytes - HEADER_RESERVE))


def block_bytes_within(configured: int, max_packet_bytes: int | None) -> int:
    """Return the block size for a broker that takes packets of ``max_packet_bytes``.

    >>> block_bytes_within(131072, 131072), block_bytes_within(32768, None)
    (130048, 32768)
    """
    if max_packet_bytes is None:
        return configured
    most = max_packet_bytes - PACKET_OVERHEAD_BYTES
    return max(MIN_BLOCK_BYTES, min(configured, most))


@dataclass(frozen=True, slots=True)
class Cut:
    """How ``size`` bytes are cut into payloads of ``block_bytes``."""

    size: int
    block_bytes: int

    def __post_init__(self) -> None:
        if self.count > MAX_BLOCKS:
            raise DecodeError(
                f"a blob of {self.size} bytes has {self.count} blocks of "
                f"{self.block_bytes} bytes, over {MAX_BLOCKS}",
                reason=Reason.TOO_LARGE,
            )

    @property
    def count(self) -> int:
        """Number of blocks."""
        return block_count(self.size, block_bytes=self.block_bytes)

    @property
    def stride(self) -> int:
        """Blocks that share a hash, so that the list fits into one payload."""
        return -(-self.count // ((self.block_bytes - HEADER_RESERVE) // HASH_BYTES))

    def span(self, index: int, *, blocks: int = 1) -> tuple[int, int]:
        """Return offset and length in bytes of ``blocks`` blocks from ``index`` on."""
        body_bytes = self.block_bytes - HEADER_RESERVE
        start = index * body_bytes
        return start, min(blocks * body_bytes, self.size - start)


def block_frame(
    blob: bytes, ref: BlobRef, *, index: int, count: int, block_bytes: int
) -> bytes:
    """Return the frame of block ``index``."""
    body_bytes = block_bytes - HEADER_RESERVE
    body = blob[index * body_bytes : (index + 1) * body_bytes]
    return frame(Block(ref, index, count), body)


def cut(blob: bytes, *, block_bytes: int) -> tuple[BlobRef, list[bytes]]:
    """Return the blob's name and the frames of its blocks, in order."""
    ref = blob_ref(blob)
    count = block_count(ref.size, block_bytes=block_bytes)
    return ref, [
        block_frame(blob, ref, index=index, count=count, block_bytes=block_bytes)
        for index in range(count)
    ]


@dataclass(frozen=True, slots=True)
class Listing:
    """A ``BlockList`` with its hashes, checked against the blob's size."""

    head: BlockList
    hashes: bytes

    def __post_init__(self) -> None:
        groups = -(-self.cut.count // self.head.stride)
        if len(self.hashes) != groups * HASH_BYTES:
            raise DecodeError(
                f"a list of {groups} hashes has {groups * HASH_BYTES} bytes, "
                f"not {len(self.hashes)}"
            )

    @classmethod
    def of(cls, blob: bytes, *, block_bytes: int) -> Self:
        """List the hashes of ``blob``."""
        plan = Cut(len(blob), block_bytes)
        stride, view = plan.stride, memoryview(blob)
        hashes = bytearray()
        for index in range(0, plan.count, stride):
            start, length = plan.span(index, blocks=stride)
            hashes += hashlib.sha256(view[start : start + length]).digest()
        return cls(BlockList(blob_ref(blob), block_bytes, stride), bytes(hashes))

    @property
    def cut(self) -> Cut:
        """How the blob is cut."""
        return Cut(self.head.blob.size, self.head.block_bytes)

    @property
    def frame(self) -> bytes:
        """The message that brings it."""
        return frame(self.head, self.hashes)

    def group(self, index: int) -> range:
        """Return the blocks that share a hash with block ``index``."""
        first = index - index % self.head.stride
        return range(first, min(first + self.head.stride, self.cut.count))

    def has(self, digest: bytes, *, index: int) -> bool:
        """Tell whether the group of block ``index`` must have this SHA-256."""
        start = index // self.head.stride * HASH_BYTES
        return self.hashes[start : start + HASH_BYTES] == digest


def bitmap(indexes: Iterable[int]) -> str:
    """Return block numbers as a ``Need`` has them: a bitmap in hex, or nothing."""
    bits = sum(1 << index for index in set(indexes))
    return f"{bits:x}" if bits else ""


def wanted_blocks(wanted: str, *, count: int) -> list[int]:
    """Return the block numbers a ``Need`` asks for."""
    lowest_first = f"{int(wanted or '0', 16):b}"[::-1]
    return [index for index, bit in enumerate(lowest_first[:count]) if bit == "1"]
