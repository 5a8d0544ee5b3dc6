"""Messages about blobs: their names, their blocks, and what a receiver still lacks.

A blob travels in blocks, each with a frame of its own. A receiver asks for the blocks
it wants next, a window of them at a time; the list of their hashes lets it refuse a
wrong block at once. The order of things is in docs/protocol.md. This module is pure.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from wire_protocol.errors import DecodeError, Reason
from wire_protocol.fields import Fields
from wire_protocol.manifest import MAX_ARTIFACT_BYTES

MAX_BLOB_BYTES: Final = 4 * MAX_ARTIFACT_BYTES
MAX_BLOCKS: Final = 1 << 16
MIN_BLOCK_BYTES: Final = 1024
MAX_BLOCK_BYTES: Final = 128 * 1024
MAX_WINDOW: Final = 64
SHORT_DIGEST: Final = 16


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A blob by content: its SHA-256 in hex and its size in bytes."""

    sha256: str
    size: int

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header's object."""
        return cls(
            fields.digest("sha256"), fields.whole("size", least=1, most=MAX_BLOB_BYTES)
        )


@dataclass(frozen=True, slots=True)
class Need:
    """A receiver asks for blocks of a blob, and perhaps for the list of their hashes.

    ``wanted`` is a bitmap in hex, block 0 its lowest bit; empty asks for no block. It
    has at most ``MAX_WINDOW`` ones, for no receiver may have more under way.
    ``hashes`` asks for the ``BlockList`` too.
    """

    kind: ClassVar[str] = "need"
    blob: BlobRef
    wanted: str
    hashes: bool = False

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        wanted = fields.text("wanted", longest=MAX_BLOCKS // 4)
        if not set(wanted) <= set("0123456789abcdef"):
            raise DecodeError("need: wanted is a bitmap in hex")
        if int(wanted or "0", 16).bit_count() > MAX_WINDOW:
            raise DecodeError(
                f"need: more than {MAX_WINDOW} blocks at a time",
                reason=Reason.TOO_LARGE,
            )
        return cls(
            BlobRef.read(fields.group("blob")), wanted, hashes=fields.flag("hashes")
        )


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a blob; the body is its bytes. Blocks come in any order."""

    kind: ClassVar[str] = "block"
    blob: BlobRef
    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise DecodeError(f"block {self.index} of {self.count} is none")

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        return cls(
            blob=BlobRef.read(fields.group("blob")),
            index=fields.whole("index"),
            count=fields.whole("count", least=1, most=MAX_BLOCKS),
        )


@dataclass(frozen=True, slots=True)
class BlockList:
    """How a blob is cut, and the hashes of its blocks: the body, 32 bytes for each.

    A hash is the SHA-256 of the bytes of ``stride`` blocks in a row, of what is left at
    the end. The stride is 1 unless the list would not fit into one block's payload.

    Attributes:
        blob: What is cut.
        block_bytes: Payload of a block, its frame's reserve included.
        stride: Blocks that share a hash.
    """

    kind: ClassVar[str] = "block_list"
    blob: BlobRef
    block_bytes: int
    stride: int = 1

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        return cls(
            BlobRef.read(fields.group("blob")),
            fields.whole("block_bytes", least=MIN_BLOCK_BYTES, most=MAX_BLOCK_BYTES),
            fields.whole("stride", least=1, most=MAX_BLOCKS),
        )
