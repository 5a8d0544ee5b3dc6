"""Uplink: client updates put together from blocks, in bounded memory.

What is being received is at most two updates for each device, none larger than the
layout allows. This module is pure.
"""

from typing import Final

from wire_protocol.errors import DecodeError
from wire_protocol.transfer import Assembly, Block, expect, transfer_id

MAX_PER_DEVICE: Final = 2
"""One update, and one more whose predecessor was given up."""


def max_update_bytes(size: int) -> int:
    """Return the largest update of ``size`` values: float32 and a generous header."""
    return 4 * size + 64 * 1024


class Uplink:
    """The updates being received, of the open round and of earlier ones."""

    def __init__(self, *, block_bytes: int, max_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._max_bytes = max_bytes
        self._assemblies: dict[str, dict[str, Assembly]] = {}

    def add(self, device: str, transfer: str, *, payload: bytes) -> bytes | None:
        """Take the frame of a block; return the update when it is whole, else None.

        Raises:
            DecodeError: The block is none, or contradicts the others of its transfer.
        """
        block, body = expect(Block, payload)
        if transfer_id(block.blob) != transfer:
            raise DecodeError(
                f"transfer {transfer_id(block.blob)} came as {transfer:.64}"
            )
        own = self._assemblies.setdefault(device, {})
        if transfer not in own:
            own[transfer] = Assembly(
                block.blob, block_bytes=self._block_bytes, max_bytes=self._max_bytes
            )
            while len(own) > MAX_PER_DEVICE:
                del own[next(iter(own))]
        blob = own[transfer].add(block, body)
        if blob is not None:
            del own[transfer]
        return blob
