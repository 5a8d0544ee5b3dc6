"""Block transfer: blobs cut so that no payload exceeds the block size.

Blobs are known by their SHA-256. The receiver drives: it asks for what it lacks, a
window at a time, takes blocks in any order, any number of times, and holds the outcome
only when its digest is right. Uplink and downlink use the same blocks. This module is
pure; where the bytes are kept is an argument.

>>> ref, frames = cut(b"some bytes" * 500, block_bytes=1024)
>>> assembly = Assembly(ref, block_bytes=1024, max_bytes=1 << 20)
>>> assembly.ask(window=4)
(0, 1, 2, 3)
>>> done = [assembly.add(*expect(Block, raw)) for raw in reversed(frames)]
>>> done[-1] == b"some bytes" * 500
True
"""

import hashlib
from typing import Final, Protocol

from wire_protocol.blobs import BlobRef, Block
from wire_protocol.cutting import (
    Cut,
    Listing,
    blob_ref,
    block_count,
    block_frame,
    cut,
    transfer_id,
    wanted_blocks,
)
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect

__all__ = [
    "Assembly",
    "Block",
    "MemoryPart",
    "Part",
    "blob_ref",
    "block_count",
    "block_frame",
    "cut",
    "expect",
    "transfer_id",
    "wanted_blocks",
]

_MISSING: Final = 0
_ASKED: Final = 1
_HERE: Final = 2
_NOT_HERE: Final = bytes([ord("1"), ord("1"), ord("0")]) + bytes(253)
_IS_HERE: Final = bytes([ord("0"), ord("0"), ord("1")]) + bytes(253)


class Part(Protocol):
    """Where the bytes of a blob are kept while it is received."""

    def write(self, start: int, body: bytes) -> None:
        """Keep ``body`` at offset ``start``."""

    def read(self, start: int, length: int) -> bytes:
        """Return ``length`` bytes from offset ``start`` on, written or not."""


class MemoryPart:
    """A part in memory, allocated once."""

    def __init__(self, size: int) -> None:
        self._buffer = bytearray(size)

    def write(self, start: int, body: bytes) -> None:
        """Keep ``body`` at offset ``start``."""
        self._buffer[start : start + len(body)] = body

    def read(self, start: int, length: int) -> bytes:
        """Return ``length`` bytes from offset ``start`` on."""
        return bytes(self._buffer[start : start + length])


class Assembly:
    """A blob being received: which blocks are here, and which to ask for next.

    With a ``listing`` a wrong block is found as soon as its group is whole; without,
    when the blob is. Both are dropped, and asked for again. Memory is one byte for
    each block, plus what ``part`` takes; by default that is the blob's size.
    """

    def __init__(
        self,
        ref: BlobRef,
        *,
        block_bytes: int,
        max_bytes: int,
        part: Part | None = None,
    ) -> None:
        if ref.size > max_bytes:
            raise DecodeError(
                f"a blob of {ref.size} bytes is over the limit of {max_bytes}",
                reason=Reason.TOO_LARGE,
            )
        self.ref = ref
        self.cut = Cut(ref.size, block_bytes)
        self.listing: Listing | None = None
        self.unsaved = 0
        """Blocks that came, or were dropped, since the last ``here``."""
        self._part = part or MemoryPart(ref.size)
        self._state = bytearray(self.cut.count)
        self._next = 0

    @property
    def complete(self) -> bool:
        """Whether every block is here; ``content`` then judges the whole."""
        return self._state.count(_HERE) == len(self._state)

    def resume(self, listing: Listing | None, here: bytes) -> None:
        """Take over what an earlier assembly of the same cut left in the part."""
        self.listing = listing
        bits = f"{int.from_bytes(here, 'little'):b}"[::-1]
        for index, bit in enumerate(bits[: len(self._state)]):
            if bit == "1":
                self._state[index] = _HERE

    def here(self) -> bytes:
        """Return the bitmap of the blocks that are here, block 0 its lowest bit."""
        self.unsaved = 0
        bits = int(self._state.translate(_IS_HERE)[::-1], 2)
        return bits.to_bytes(-(-len(self._state) // 8), "little")

    def missing(self) -> str:
        """Return the bitmap of all missing blocks, in hex, for ``Need``."""
        return f"{int(self._state.translate(_NOT_HERE)[::-1], 2):x}"

    # --- asking ---------------------------------------------------------------

    def ask(self, window: int) -> tuple[int, ...]:
        """Return what to ask for now, so that ``window`` blocks are under way.

        The order is cyclic from the block that came last: who comes late follows the
        stream that others caused, and asks for its beginning in the end.
        """
        free = window - self._state.count(_ASKED)
        picked: list[int] = []
        for first, end in ((self._next, len(self._state)), (0, self._next)):
            index = self._state.find(_MISSING, first, end)
            while index >= 0 and len(picked) < free:
                self._state[index] = _ASKED
                picked.append(index)
                index = self._state.find(_MISSING, index + 1, end)
        return tuple(picked)

    def wants_more(self, window: int) -> bool:
        """Tell whether half the window has come and there is more to ask for."""
        return self._state.count(_ASKED) <= window // 2 and _MISSING in self._state

    def ask_again(self) -> None:
        """Take what is under way for lost."""
        self._state = self._state.replace(bytes([_ASKED]), bytes([_MISSING]))

    # --- receiving ------------------------------------------------------------

    def add(self, block: Block, body: bytes) -> bytes | None:
        """Take a block; return the blob when it is whole, else None.

        Raises:
            DecodeError: As ``put`` and ``content``.
        """
        return self.content() if self.put(block, body) else None

    def put(self, block: Block, body: bytes) -> bool:
        """Take a block; return whether this made the blob complete.

        A block that is here already changes nothing.

        Raises:
            DecodeError: The block contradicts the blob's name, the cut or its hash.
        """
        index = block.index
        if block.blob != self.ref or block.count != self.cut.count:
            raise DecodeError(
                f"a block of {block.blob} in {block.count}, "
                f"expected {self.ref} in {self.cut.count}"
            )
        start, expected = self.cut.span(index)
        if len(body) != expected:
            raise DecodeError(f"block {index} has {expected} bytes, not {len(body)}")
        if self._state[index] == _HERE:
            return False
        self._part.write(start, body)
        self._state[index] = _HERE
        self._next = (index + 1) % len(self._state)
        self.unsaved += 1
        if not self._is_right(index):
            raise DecodeError(f"block {index} has another hash")
        return self.complete

    def take_list(self, listing: Listing) -> None:
        """Judge all blocks by ``listing`` from now on, also those that are here.

        Raises:
            DecodeError: It lists another blob or another cut, or blocks that were
                here are wrong; those are dropped.
        """
        if listing.head.blob != self.ref or listing.cut != self.cut:
            raise DecodeError(
                f"a list of {listing.cut} of {listing.head.blob}, "
                f"expected {self.cut} of {self.ref}"
            )
        if listing == self.listing:
            return
        self.listing = listing
        wrong = self._drop_wrong_groups()
        if wrong:
            raise DecodeError(f"{wrong} groups of blocks have another hash")

    def content(self) -> bytes:
        """Return the complete blob, read once.

        Raises:
            DecodeError: Its digest is wrong. What is wrong by the list is dropped;
                if nothing is, or there is no list, everything, and the list too.
        """
        content = self._part.read(0, self.ref.size)
        self._judge(hashlib.sha256(content).hexdigest())
        return content

    def check(self) -> None:
        """Judge the complete blob as ``content`` does, one block in memory."""
        digest = hashlib.sha256()
        for index in range(self.cut.count):
            digest.update(self._part.read(*self.cut.span(index)))
        self._judge(digest.hexdigest())

    def _judge(self, digest: str) -> None:
        if digest == self.ref.sha256:
            return
        if not self._drop_wrong_groups():
            self.listing = None
            self._drop(range(len(self._state)))
        raise DecodeError(f"blob {self.ref.sha256[:12]} has another digest")

    def _drop_wrong_groups(self) -> int:
        if self.listing is None:
            return 0
        firsts = range(0, len(self._state), self.listing.head.stride)
        return sum(not self._is_right(first) for first in firsts)

    def _is_right(self, index: int) -> bool:
        """Judge the group of ``index``, if it is whole, and drop it if it is wrong."""
        if self.listing is None:
            return True
        group = self.listing.group(index)
        if self._state.count(_HERE, group.start, group.stop) < len(group):
            return True
        digest = hashlib.sha256()
        for member in group:
            digest.update(self._part.read(*self.cut.span(member)))
        if self.listing.has(digest.digest(), index=index):
            return True
        self._drop(group)
        return False

    def _drop(self, group: range) -> None:
        self._state[group.start : group.stop] = bytes(len(group))
        self.unsaved += len(group)
