"""Clipping: no update is longer than is usual, nor weighs much more than is usual.

Both bounds are medians, which a minority of the devices cannot move beyond what the
others have. Clipping to a running quantile of the norms: Andrew et al., "Differentially
Private Learning with Adaptive Clipping" (NeurIPS 2021). This module is pure.

>>> usual_norm({"kitchen": [1.0, 1.2], "attic": [2.0], "liar": [1e38]})
2.0
>>> clip_factors([1.0, 4.0], bound=2.0)
[1.0, 0.5]
>>> capped([100, 50, 60, 10**9], cap=5.0)
[100.0, 50.0, 60.0, 400.0]
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from broker_server.aggregators import Cohort
from wire_protocol.params import Vector


def squared(chunk: Vector) -> float:
    """Return the sum of squares of ``chunk``, in float64: no float32 overflows it."""
    wide = chunk.astype(np.float64)
    wide *= wide
    return float(wide.sum())


def norm_of(delta: Vector) -> float:
    """Return the L2 norm of ``delta``, float32 ``[size]``."""
    return math.sqrt(squared(delta))


def norms_of(cohort: Cohort, known: Sequence[float | None]) -> list[float]:
    """Return the L2 norm of every update; those not ``known`` are read once.

    Raises:
        DecodeError: An update is not what its codec writes.
    """
    if None not in known:
        return [norm for norm in known if norm is not None]
    squares = [0.0] * cohort.count
    for _, rows in cohort.chunks([1.0] * cohort.count):
        for index, row in enumerate(rows):
            squares[index] += squared(row)
    return [
        math.sqrt(square) if norm is None else norm
        for norm, square in zip(known, squares, strict=True)
    ]


def usual_norm(by_device: Mapping[str, Sequence[float]]) -> float:
    """Return the running median norm: what is usual for most of the devices.

    Every device has one voice, the median of its own norms, however often it sent. An
    update of nothing has no length to tell; without any other, 0 is returned.
    """
    voices = [
        statistics.median_low(told)
        for norms in by_device.values()
        if (told := [norm for norm in norms if norm > 0.0])
    ]
    return float(statistics.median_low(voices)) if voices else 0.0


def clip_factors(norms: Iterable[float], *, bound: float) -> list[float]:
    """Return what to multiply each update with, so that its norm is ``bound`` or less.

    One that is not too long stays as it is, to the bit.
    """
    return [1.0 if norm <= bound else bound / norm for norm in norms]


def capped(counts: Sequence[int], *, cap: float) -> list[float]:
    """Return numbers of examples, none above ``cap`` times the cohort's median.

    Devices tell them; so nobody counts for many by claiming much.
    """
    if not counts:
        return []
    most = cap * statistics.median(counts)
    return [min(float(count), most) for count in counts]
