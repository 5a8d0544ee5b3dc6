"""Statistics of features: what devices tell of their inputs, so that all scale alike.

A device sends count, sum and sum of squares of every channel (the last axis) of its
training examples; the sums of all devices give the fleet's mean and deviation, and no
example leaves a device. This module is pure.

>>> kitchen = FeatureStatistics(2, (4.0,), (10.0,))   # 1 and 3
>>> attic = FeatureStatistics(1, (5.0,), (25.0,))     # 5
>>> mean, deviation = moments([kitchen, attic])
>>> mean.tolist(), round(float(deviation[0]), 4)
([3.0], 1.633)
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import DecodeError
from wire_protocol.fields import Fields
from wire_protocol.params import ParamLayout, Vector

MAX_CHANNELS: Final = 512
"""As many fit into a frame's header with their sums."""
_MOST: Final = 1e30
_ROUNDING: Final = 1e-6
_CHUNK_ROWS: Final = 16_384


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Of one device's training examples, over all places of an example.

    Attributes:
        count: Values in each channel.
        sums: Of each channel.
        squares: Sums of squares, of each channel.
    """

    count: int
    sums: tuple[float, ...]
    squares: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.sums) == len(self.squares) <= MAX_CHANNELS:
            raise DecodeError(f"statistics are of 1 to {MAX_CHANNELS} channels")
        for total, square in zip(self.sums, self.squares, strict=True):
            # no numbers have such sums: by Cauchy and Schwarz
            if not total * total <= self.count * square * (1 + _ROUNDING):
                raise DecodeError("a sum of squares is too small for its sum")

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self.sums)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header's object."""
        return cls(
            count=fields.whole("count", least=1),
            sums=fields.reals("sums", most=MAX_CHANNELS, limit=_MOST),
            squares=fields.reals("squares", most=MAX_CHANNELS, limit=_MOST),
        )


def feature_statistics(x: Vector) -> FeatureStatistics | None:
    """Return the statistics of examples ``x[N, ..., channels]``.

    In float64, a chunk at a time; None for no values or too many channels.
    """
    rows = x.reshape(-1, x.shape[-1])
    if not len(rows) or rows.shape[1] > MAX_CHANNELS:
        return None
    sums = np.zeros(rows.shape[1])
    squares = np.zeros(rows.shape[1])
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = rows[start : start + _CHUNK_ROWS].astype(np.float64)
        sums += chunk.sum(0)
        squares += (chunk * chunk).sum(0)
    return FeatureStatistics(len(rows), tuple(sums.tolist()), tuple(squares.tolist()))


def moments(
    parts: Iterable[FeatureStatistics],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of every channel, over all devices.

    Raises:
        DecodeError: There are no parts, or they differ in channels.
    """
    known = list(parts)
    if len({one.channels for one in known}) != 1:
        raise DecodeError("statistics of one number of channels are pooled")
    count = sum(one.count for one in known)
    mean = np.sum([one.sums for one in known], axis=0) / count
    square = np.sum([one.squares for one in known], axis=0) / count
    return mean, np.sqrt(np.maximum(square - mean * mean, 0.0))


def channels_of(layout: ParamLayout) -> int:
    """Return of how many channels ``layout`` wants statistics; 0 is none."""
    return sum(spec.size for spec in layout.specs if spec.init == "feature_mean")


def standardized(
    params: Vector, layout: ParamLayout, *, parts: Iterable[FeatureStatistics]
) -> Vector:
    """Return ``params``, shape ``[size]``, with the fleet's mean and scale put in.

    A channel that never changes keeps scale 1: nothing is made of its rounding.

    Raises:
        DecodeError: The statistics are of another number of channels.
    """
    mean, deviation = moments(parts)
    if len(mean) != channels_of(layout):
        raise DecodeError(
            f"statistics of {channels_of(layout)} channels expected, not {len(mean)}"
        )
    still = deviation <= _ROUNDING * np.maximum(np.abs(mean), math.sqrt(_ROUNDING))
    scale = 1 / np.where(still, 1.0, deviation)
    changed = params.copy()
    for spec, tensor in zip(layout.specs, layout.split(changed), strict=True):
        match spec.init:
            case "feature_mean":
                tensor[...] = mean.reshape(spec.shape)
            case "feature_scale":
                tensor[...] = scale.reshape(spec.shape)
            case _:
                pass
    return changed
