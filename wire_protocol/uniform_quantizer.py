"""The default codec's numbers: one step for the whole vector, round to nearest.

With an entropy coder behind it, one step everywhere gives large tensors their bits by
itself (reverse water-filling); it had the lowest error at equal bytes of all codecs
compared (``docs/codec.md``). The decoder needs only the step, not how it was chosen.
Decoding is ``float32(level) * float32(step)``: one rounding, the same on every machine.
This module is pure.
"""

import math
import struct
from collections.abc import Iterator
from typing import Final

import numpy as np

from wire_protocol.entropy import MAX_LEVEL, Payload, Reader, pack, unpack
from wire_protocol.errors import DecodeError, EncodeError, Reason
from wire_protocol.params import Vector

CHUNK: Final = 65_536
_STEP: Final = struct.Struct("<f")
_SMALLEST: Final = float(np.finfo(np.float32).tiny)
_LARGEST: Final = float(np.finfo(np.float32).max)
_SAFE: Final = _LARGEST / (2 * MAX_LEVEL)
"""With this step or a smaller one, every level is a finite value."""


def quantized(vector: Vector, *, factor: float) -> bytes:
    """Return ``vector``, shape ``[n]``, in steps of ``factor`` times its RMS.

    Raises:
        EncodeError: A value is not finite, or so large that its level would not be.
    """
    step = np.float32(_step(vector, factor))
    chunks = [_STEP.pack(step)]
    for start in range(0, vector.size, CHUNK):
        chunk = vector[start : start + CHUNK]
        levels = np.rint(chunk / step) if step else np.zeros_like(chunk)
        chunks.append(pack(levels.astype(np.int32)))
    return b"".join(chunks)


def rooms(size: int, out: Vector) -> Iterator[Vector]:
    """Yield the part of ``out`` for each chunk of ``size`` values.

    It is always the first if ``out`` has room for one, the next if it has for all.
    """
    for start in range(0, size, CHUNK):
        at = start % out.size
        yield out[at : at + min(CHUNK, size - start)]


def dequantized(
    payload: Payload, size: int, out: Vector, factor: np.float32
) -> Iterator[Vector]:
    """Yield the ``size`` values of ``payload`` in chunks, each written into ``out``.

    The step is multiplied by ``factor``.

    Raises:
        DecodeError: The bytes are no vector of that size, or it is not finite.
    """
    reader = Reader(payload)
    (step,) = _STEP.unpack(reader.take(_STEP.size))
    if not 0.0 <= step <= _LARGEST:
        raise DecodeError(f"{step} is no step", reason=Reason.NOT_FINITE)
    scaled = np.float32(step) * factor
    for chunk in rooms(size, out):
        positions, levels = unpack(reader, chunk.size)
        if step > _SAFE and float(np.abs(levels).max(initial=0.0)) * step > _LARGEST:
            raise DecodeError("a value is not finite", reason=Reason.NOT_FINITE)
        levels *= scaled
        chunk.fill(0.0)
        chunk[positions] = levels
        yield chunk
    reader.close()


def _step(vector: Vector, factor: float) -> float:
    """Return the step; 0.0 for a vector too small to matter."""
    total = largest = 0.0
    for start in range(0, vector.size, CHUNK):
        chunk = vector[start : start + CHUNK]
        total += float(np.square(chunk, dtype=np.float64).sum())
        largest = max(largest, float(np.abs(chunk).max()))
    step = factor * math.sqrt(total / max(vector.size, 1))
    if not (math.isfinite(total) and largest + step <= _LARGEST / 2):
        raise EncodeError("the delta is not finite, or too large to mean anything")
    return step if step >= _SMALLEST else 0.0
