"""Codecs: how a model delta is written on the wire.

A codec is a named pair of pure functions between a float32 vector and bytes. The size
of the vector is not on the wire; both ends read it off the manifest. Whatever the
bytes, decoding gives finite values of the asked number or raises ``DecodeError``; it
can be done a chunk at a time, from where the payload is stored. This module is pure.

>>> codec = codec_named("uq:4")
>>> codec.decode(codec.encode(np.zeros(3, np.float32)), 3).tolist()
[0.0, 0.0, 0.0]
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias

import numpy as np

from wire_protocol.entropy import Payload, Reader
from wire_protocol.errors import ConfigError, DecodeError, EncodeError, Reason
from wire_protocol.params import Vector
from wire_protocol.uniform_quantizer import CHUNK, dequantized, quantized, rooms

BLOCK: Final = 256
"""Values that share a scale in ``int8``."""
FACTORS: Final = (0.125, 32.0)
"""Smallest and largest step of ``uq``, in units of the vector's RMS."""
DEFAULT_FACTOR: Final = 2.0
MOST_BITS: Final = 1.2
"""Bits per value that ``uq`` keeps to, beyond ``ALLOWANCE_BYTES``."""
ALLOWANCE_BYTES: Final = 64
_COARSER: Final = 1.1
_LARGEST_SCALE: Final = np.finfo(np.float32).max / np.float32(128)
_FACTOR_NAME: Final = re.compile(r"uq:(\d{1,2}(?:\.\d{1,3})?)")


Fill: TypeAlias = Callable[[Payload, int, Vector, np.float32], Iterator[Vector]]
"""``(payload, size, out, factor)``: see ``Codec.chunks``."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A lossy, reversible mapping between a vector and its payload.

    ``encode`` raises ``EncodeError`` when the vector has no representation, decoding
    ``DecodeError``, and nothing else.
    """

    name: str
    encode: Callable[[Vector], bytes]
    fill: Fill

    def decode(self, payload: bytes, size: int) -> Vector:
        """Return the ``size`` values of ``payload``."""
        vector = np.empty(size, np.float32)
        for _ in self.chunks(payload, size, out=vector):
            pass
        return vector

    def chunks(
        self,
        payload: Payload,
        size: int,
        *,
        out: Vector | None = None,
        factor: float = 1.0,
    ) -> Iterator[Vector]:
        """Yield the ``size`` values of ``payload`` times ``factor``, ``CHUNK`` at once.

        Each chunk is written over the one before, or after it into an ``out`` that has
        room for all. With a factor of 1 they are the values of ``decode``, bit for bit;
        any other is multiplied into the step or the scales that a codec has, in
        float32. What follows the payload is refused after the last chunk.
        """
        room = np.empty(min(size, CHUNK), np.float32) if out is None else out
        return self.fill(payload, size, room, np.float32(factor))


def _checked(vector: Vector) -> Vector:
    if vector.ndim != 1 or vector.dtype != np.float32:
        raise EncodeError(
            f"a codec takes float32 of shape [n], not {vector.dtype} {vector.shape}"
        )
    if not np.isfinite(vector).all():
        raise EncodeError("the delta is not finite", remedy="lower the learning rate")
    return vector


def _fill_floats(
    dtype: str, payload: Payload, size: int, out: Vector, factor: np.float32
) -> Iterator[Vector]:
    reader = Reader(payload)
    width = np.dtype(dtype).itemsize
    for chunk in rooms(size, out):
        chunk[:] = np.frombuffer(reader.take(width * chunk.size), dtype)
        if not np.isfinite(chunk).all():
            raise DecodeError("a value is not finite", reason=Reason.NOT_FINITE)
        if factor != 1:
            np.multiply(chunk, factor, out=chunk)
        yield chunk
    reader.close()


def _encode_f32(vector: Vector) -> bytes:
    return _checked(vector).astype("<f4").tobytes()


def _encode_f16(vector: Vector) -> bytes:
    largest = float(np.abs(_checked(vector)).max(initial=0.0))
    if largest > float(np.finfo(np.float16).max):
        raise EncodeError(f"f16 holds values up to 65504, not {largest:g}")
    return vector.astype("<f2").tobytes()


def _blocks(values: Vector) -> Vector:
    """Return ``values`` padded with zeros, shape ``[blocks, BLOCK]``."""
    padded = np.zeros((-(-values.size // BLOCK), BLOCK), np.float32)
    padded.reshape(-1)[: values.size] = values
    return padded


def _encode_int8(vector: Vector) -> bytes:
    blocks = _blocks(_checked(vector))
    scales = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    if scales.max(initial=0.0) > _LARGEST_SCALE:
        raise EncodeError("the delta is too large to mean anything")
    levels = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales > 0)
    written = np.rint(levels).clip(-127, 127).astype(np.int8).reshape(-1)
    return b"".join([scales.astype("<f4").tobytes(), written[: vector.size].tobytes()])


def _fill_int8(
    payload: Payload, size: int, out: Vector, factor: np.float32
) -> Iterator[Vector]:
    reader = Reader(payload)
    written = reader.take(4 * -(-size // BLOCK))
    # Copied, for its bytes may begin anywhere, and that makes numpy half as fast.
    scales = np.frombuffer(written, "<f4").astype(np.float32)
    if not ((scales >= 0) & (scales <= _LARGEST_SCALE)).all():
        raise DecodeError("a scale is not finite", reason=Reason.NOT_FINITE)
    scales *= factor
    at = 0
    for chunk in rooms(size, out):
        chunk[:] = np.frombuffer(reader.take(chunk.size), np.int8)
        whole = chunk.size // BLOCK
        blocks = chunk[: whole * BLOCK].reshape(whole, BLOCK)
        blocks *= scales[at : at + whole, None]
        at += whole
        if whole * BLOCK < chunk.size:
            chunk[whole * BLOCK :] *= scales[at]
        yield chunk
    reader.close()


def uniform_quantizer(factor: float = DEFAULT_FACTOR) -> Codec:
    """Return ``uq:<factor>``: a step of ``factor`` x RMS; any ``uq`` decodes any other.

    Raises:
        ConfigError: The factor is outside ``FACTORS``.
    """
    if not FACTORS[0] <= factor <= FACTORS[1]:
        raise ConfigError(
            f"uq's step factor is from {FACTORS[0]} to {FACTORS[1]}, not {factor}",
            remedy="1 is fine, 2 the default, 4 for metered links",
        )

    def encode(vector: Vector) -> bytes:
        return quantized(_checked(vector), factor=factor)

    return Codec(f"uq:{factor:g}", encode, dequantized)


def _encode_capped(vector: Vector) -> bytes:
    """Encode with the default step, or the next coarser one that keeps to the cap.

    Deltas that are spread more evenly than most need a little over a bit each;
    ``ErrorFeedback`` sends later what a coarser step leaves out.
    """
    most_bytes = MOST_BITS * _checked(vector).size / 8 + ALLOWANCE_BYTES
    factor = DEFAULT_FACTOR
    payload = quantized(vector, factor=factor)
    while len(payload) > most_bytes and factor * _COARSER <= FACTORS[1]:
        factor *= _COARSER
        payload = quantized(vector, factor=factor)
    return payload


CODECS: Final[Mapping[str, Codec]] = {
    codec.name: codec
    for codec in (
        Codec("uq", _encode_capped, dequantized),
        Codec("int8", _encode_int8, _fill_int8),
        Codec("f16", _encode_f16, partial(_fill_floats, "<f2")),
        Codec("f32", _encode_f32, partial(_fill_floats, "<f4")),
    )
}
"""The one list of codecs: offers and updates name one of them."""


def codec_named(name: str) -> Codec:
    """Return the codec ``name``; ``uq:4`` is ``uq`` with another step factor.

    Raises:
        DecodeError: There is none, with reason ``WRONG_CODEC``.
    """
    if name in CODECS:
        return CODECS[name]
    match = _FACTOR_NAME.fullmatch(name)
    if match and FACTORS[0] <= float(match[1]) <= FACTORS[1]:
        return replace(uniform_quantizer(float(match[1])), name=name)
    raise DecodeError(
        f"{name!r} is none of the codecs {', '.join(CODECS)}, uq:<step factor "
        f"from {FACTORS[0]} to {FACTORS[1]}>",
        reason=Reason.WRONG_CODEC,
    )
