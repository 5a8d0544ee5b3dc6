"""Pooled statistics: mean and spread of every channel, of sums that devices tell. Pure.

>>> whole = np.array([[0.0, 2.0], [4.0, 2.0]], np.float32)
>>> pooled = pooled_statistics([channel_sums(whole[:1]), channel_sums(whole[1:])])
>>> pooled[0].tolist(), pooled[1].tolist()
([2.0, 2.0], [0.5, 1.0])
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wire_protocol.params import ParamLayout, Vector

_LEAST_DEVIATION = 1e-6


@dataclass(frozen=True, slots=True)
class ChannelSums:
    """Over all places of all examples: their number, and sums for each channel."""

    count: int
    total: NDArray[np.float64]
    squares: NDArray[np.float64]


def channel_sums(x: Vector) -> ChannelSums:
    """Return the sums over the last axis of ``x[N, ..., C]``."""
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return ChannelSums(len(rows), rows.sum(0), (rows * rows).sum(0))


def pooled_statistics(parts: Iterable[ChannelSums]) -> tuple[Vector, Vector]:
    """Return mean and 1 / standard deviation of every channel; 1 if it is constant."""
    sums = list(parts)
    count = sum(part.count for part in sums)
    mean = np.sum([part.total for part in sums], axis=0) / count
    squares = np.sum([part.squares for part in sums], axis=0) / count
    variance = squares - mean * mean
    deviation = np.sqrt(np.maximum(variance, 0.0))
    known = deviation > _LEAST_DEVIATION
    scale = np.divide(1.0, deviation, out=np.ones_like(deviation), where=known)
    return mean.astype(np.float32), scale.astype(np.float32)


def standardized(
    layout: ParamLayout, params: Vector, parts: Iterable[ChannelSums]
) -> Vector:
    """Return ``params`` with the statistics where ``layout`` has room for them."""
    if not any(spec.init.startswith("feature_") for spec in layout.specs):
        return params
    mean, scale = pooled_statistics(parts)
    values = {"feature_mean": mean, "feature_scale": scale}
    pairs = zip(layout.specs, layout.split(params), strict=True)
    return layout.join([values.get(spec.init, tensor) for spec, tensor in pairs])
