"""Entropy coding of small signed integers, with nothing but zlib's Huffman stage.

A chunk of levels is peeled like an onion. The first mask says which levels are not
zero, the second which of those exceed 1 in magnitude, and so on; once a mask would
be mostly ones, the magnitudes that are left follow as bytes. Eight mask bits are one
Huffman symbol, so even a bit of 0.1 bits of information costs little more than that.
The bytes are specified in ``docs/codec.md``. This module is pure.

>>> levels = np.array([0, 0, -1, 0, 7, 0, 0, 0], np.int32)
>>> positions, nonzero = unpack(Reader(pack(levels)), 8)
>>> positions.tolist(), nonzero.tolist()
([2, 4], [-1.0, 7.0])
"""

import struct
import zlib
from enum import IntEnum
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import DecodeError

Levels = NDArray[np.int32]
Positions = NDArray[np.intp]
MAX_LEVEL: Final = 1 << 24
"""Largest magnitude: every integer up to it is exact in float32."""
MAX_MASKS: Final = 16

_ESCAPE: Final = 255
_LENGTH: Final = struct.Struct("<H")
_FEW: Final = 8
# Outside these densities one of the two ways to write a mask always wins.
_GAPS_BELOW: Final = 0.15
_BITMAP_ABOVE: Final = 0.02


class Layer(IntEnum):
    """How the next layer of a chunk is written; all but ``DONE`` hold a one."""

    DONE = 0
    BITMAP = 1
    BITMAP_HUFFMAN = 2
    GAPS_HUFFMAN = 3
    BYTES = 4
    BYTES_HUFFMAN = 5


_ENDS: Final = frozenset({Layer.DONE, Layer.BYTES, Layer.BYTES_HUFFMAN})
_ESCAPED: Final = bytes([_ESCAPE])


class Readable(Protocol):
    """An open file, or what reads like one: ``read`` is short only at the end."""

    def read(self, length: int, /) -> bytes:
        """Return the next ``length`` bytes, or those that are left."""
        ...


Payload: TypeAlias = bytes | memoryview | Readable
"""What a codec decodes: in memory, or read piece by piece from where it is stored."""


class Reader:
    """A position in a payload; every read is checked against its end."""

    def __init__(self, payload: Payload) -> None:
        self._payload = memoryview(payload) if isinstance(payload, bytes) else payload
        self._at = 0

    def take(self, count: int) -> memoryview:
        """Return the next ``count`` bytes, or raise ``DecodeError``."""
        taken = self._read(count)
        end = self._at + count
        if len(taken) != count:
            ended = self._at + len(taken)
            raise DecodeError(f"the payload ends at {ended}, {end} were expected")
        self._at = end
        return taken

    def close(self) -> None:
        """Raise ``DecodeError`` unless every byte was read."""
        if self._read(1):
            raise DecodeError(f"more bytes follow the {self._at} of the payload")

    def _read(self, count: int) -> memoryview:
        if isinstance(self._payload, memoryview):
            return self._payload[self._at : self._at + count]
        return memoryview(self._payload.read(count))


def pack(levels: Levels) -> bytes:
    """Return ``levels``, shape ``[n]`` with n up to 65,536, as a chunk."""
    rest = np.abs(levels)
    layers: list[bytes] = []
    for depth in range(MAX_MASKS + 1):
        mask = rest > 0
        ones = np.flatnonzero(mask)
        if not ones.size:
            layers.append(bytes([Layer.DONE]))
            break
        dense = 2 * ones.size > rest.size or rest.size < _FEW or depth == MAX_MASKS
        if depth and dense:
            layers.append(_pack_bytes(rest))
            break
        layers.append(_pack_mask(mask, ones))
        if depth == 0:
            layers.append(np.packbits(levels[ones] < 0).tobytes())
        rest = rest[ones] - 1
    return b"".join(layers)


def unpack(reader: Reader, size: int) -> tuple[Positions, NDArray[np.float32]]:
    """Return the chunk of ``size`` levels at ``reader``: where not zero, and which.

    Most levels are zero, and most others 1 or -1: only the rest is ever looked at
    again. Levels come as float32, which holds every one that ``pack`` takes.

    Raises:
        DecodeError: The bytes are no such chunk. Memory stays proportional to ``size``
            whatever the bytes say.
    """
    layer = reader.take(1)[0]
    if layer == Layer.DONE:
        return np.zeros(0, np.intp), np.zeros(0, np.float32)
    positions = _unpack_mask(reader, size, layer)
    count = positions.size
    levels = _unpack_bits(reader.take(-(-count // 8)), count).astype(np.float32)
    levels *= -2.0
    levels += 1.0
    layer = reader.take(1)[0]
    if layer in _ENDS:
        if layer != Layer.DONE:
            levels *= 1 + _unpack_bytes(reader, count, layer)
        return positions, levels
    large = _unpack_mask(reader, count, layer)
    levels[large] *= _unpack_large(reader, large.size)
    return positions, levels


def _unpack_large(reader: Reader, size: int) -> NDArray[np.float32]:
    """Return ``size`` magnitudes that are 2 or more."""
    magnitudes = np.full(size, 2.0, np.float32)
    left: Positions | slice = slice(None)
    for depth in range(2, MAX_MASKS + 1):
        layer = reader.take(1)[0]
        if layer == Layer.DONE:
            break
        if layer in _ENDS:
            magnitudes[left] = depth + _unpack_bytes(reader, size, layer)
            break
        if depth == MAX_MASKS:
            raise DecodeError(f"a chunk has at most {MAX_MASKS} masks")
        ones = _unpack_mask(reader, size, layer)
        size = ones.size
        left = ones if isinstance(left, slice) else left[ones]
        magnitudes[left] = depth + 1
    return magnitudes


def _pack_mask(mask: NDArray[np.bool_], ones: NDArray[np.intp]) -> bytes:
    bitmap = np.packbits(mask).tobytes()
    best = bytes([Layer.BITMAP]) + bitmap
    density = ones.size / mask.size
    if density > _BITMAP_ABOVE:
        best = min(best, _huffman(Layer.BITMAP_HUFFMAN, bitmap), key=len)
    if density < _GAPS_BELOW:
        gaps = np.diff(ones, prepend=-1) - 1
        skips = gaps // _ESCAPE
        written = np.full(int(skips.sum()) + ones.size, _ESCAPE, np.uint8)
        written[np.cumsum(skips + 1) - 1] = gaps % _ESCAPE
        best = min(best, _huffman(Layer.GAPS_HUFFMAN, written.tobytes()), key=len)
    return best


def _unpack_mask(reader: Reader, size: int, layer: int) -> Positions:
    """Return the positions of the ones among ``size`` bits, ascending."""
    length = -(-size // 8)
    match layer:
        case Layer.BITMAP:
            ones = _unpack_bits(reader.take(length), size).nonzero()[0]
        case Layer.BITMAP_HUFFMAN:
            ones = _unpack_bits(_inflated(reader, length), size).nonzero()[0]
        case Layer.GAPS_HUFFMAN:
            ones = _unpack_gaps(_inflated(reader, size), size)
        case _:
            raise DecodeError(f"{layer} is no mask layer")
    if not ones.size:
        raise DecodeError("a mask without a one must not be written")
    return ones


def _unpack_gaps(written: bytes, size: int) -> Positions:
    gaps = np.frombuffer(written, np.uint8)
    steps = gaps.astype(np.intp)
    ones: Positions
    if _ESCAPE in written:
        ends = gaps != _ESCAPE
        steps += ends
        ones = np.cumsum(steps)[ends]
    else:
        steps += 1
        ones = np.cumsum(steps)
    ones -= 1
    if written[-1:] == _ESCAPED or (ones.size and ones[-1] >= size):
        raise DecodeError(f"gaps do not end inside a mask of {size}")
    return ones


def _unpack_bits(packed: bytes | memoryview, size: int) -> NDArray[np.bool_]:
    """Return ``size`` bits, first bit highest; the padding must be zeros."""
    if len(packed) != -(-size // 8):
        raise DecodeError(f"{size} bits take {-(-size // 8)} bytes, not {len(packed)}")
    if size % 8 and packed[-1] << size % 8 & 0xFF:
        raise DecodeError("padding bits must be zero")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=size)
    return bits.view(np.bool_)


def _pack_bytes(rest: Levels) -> bytes:
    capped = np.minimum(rest, _ESCAPE).astype(np.uint8).tobytes()
    written = bytes([Layer.BYTES]) + capped
    written = min(written, _huffman(Layer.BYTES_HUFFMAN, capped), key=len)
    return written + rest[rest >= _ESCAPE].astype("<u4").tobytes()


def _unpack_bytes(reader: Reader, size: int, layer: int) -> Levels:
    written = reader.take(size) if layer == Layer.BYTES else _inflated(reader, size)
    if len(written) != size:
        raise DecodeError(f"{size} magnitudes take {size} bytes, not {len(written)}")
    rest = np.frombuffer(written, np.uint8).astype(np.int32)
    escaped = (rest == _ESCAPE).nonzero()[0]
    if escaped.size:
        large = np.frombuffer(reader.take(4 * escaped.size), "<u4")
        if ((large < _ESCAPE) | (large > MAX_LEVEL)).any():
            raise DecodeError(f"an escaped magnitude is from {_ESCAPE} to {MAX_LEVEL}")
        rest[escaped] = large
    return rest


def _huffman(layer: Layer, plain: bytes) -> bytes:
    """Return ``plain`` as a layer of Huffman codes only: matches never pay here."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    body = deflate.compress(plain) + deflate.flush()
    # Bodies over 65,535 bytes cannot be told, and are never the shortest either.
    return bytes([layer]) + _LENGTH.pack(min(len(body), 0xFFFF)) + body


def _inflated(reader: Reader, limit: int) -> bytes:
    """Return the next Huffman layer, which has at most ``limit`` bytes inflated."""
    (length,) = _LENGTH.unpack(reader.take(_LENGTH.size))
    inflate = zlib.decompressobj(-15)
    try:
        plain = inflate.decompress(reader.take(length), limit + 1)
    except zlib.error as error:
        raise DecodeError(f"no DEFLATE stream: {error}") from None
    if not inflate.eof or inflate.unused_data or len(plain) > limit:
        raise DecodeError(f"a DEFLATE stream does not end at {limit} bytes or before")
    return plain
