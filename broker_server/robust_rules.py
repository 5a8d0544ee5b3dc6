"""Robust rules: means that a minority of the updates cannot take where it wants.

A mean follows any one update as far as it goes; these do not. Two of them weigh the
updates by their distances, which the Gram matrix tells (``gram``). Two look at every
parameter alone, which only makes sense of deltas that are not mostly zeros, and gives
every update one voice. This module is pure.

>>> matrix = np.array([[1.0, 1.0, 9.0], [1.0, 1.0, 9.0], [9.0, 9.0, 81.0]])  # 1, 1, 9
>>> geometric_median_weights(matrix, np.ones(3)).round(3).tolist()
[0.5, 0.5, 0.0]
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from broker_server.aggregators import Aggregator, Cohort, added_up
from broker_server.gram import Matrix, distances, gram
from wire_protocol.errors import EmptyRoundError
from wire_protocol.params import Vector

_WEISZFELD_STEPS: Final = 16
_SMOOTHING: Final = 1e-6
"""In units of the median distance: what a distance of zero counts as."""
_CENTERING_STEPS: Final = 5


def geometric_median() -> Aggregator:
    """Take the point with the least sum of distances to all updates (RFA).

    By the smoothed Weiszfeld algorithm of Pillutla et al., "Robust Aggregation for
    Federated Learning" (IEEE Trans. Signal Processing 2022), on the Gram matrix.
    """
    return _of_distances(geometric_median_weights)


def centered_clip() -> Aggregator:
    """Add up what updates say, each clipped around what all say so far.

    Karimireddy et al., "Learning from History for Byzantine Robust Optimization" (ICML
    2021), from zero, with the median distance as radius in every step.
    """
    return _of_distances(centered_clip_weights)


def trimmed_mean(trim: float) -> Aggregator:
    """Take, of every parameter, the mean without the ``trim`` largest and smallest.

    ``trim`` is a part of the updates, below one half. Yin et al., "Byzantine-Robust
    Distributed Learning: Towards Optimal Statistical Rates" (ICML 2018).
    """

    def combine(rows: Iterable[Vector], out: Vector) -> None:
        held = _sorted(rows)
        cut = min(int(trim * len(held)), (len(held) - 1) // 2)
        kept = held[cut : len(held) - cut]
        kept *= np.float32(1 / len(kept))
        added_up(kept, out)

    return Aggregator(_unweighted, combine)


def coordinate_median() -> Aggregator:
    """Take the median of every parameter (Yin et al., ICML 2018)."""

    def combine(rows: Iterable[Vector], out: Vector) -> None:
        held = _sorted(rows)
        low, high = held[(len(held) - 1) // 2], held[len(held) // 2]
        np.multiply(low, np.float32(0.5), out=out)
        high *= np.float32(0.5)
        out += high

    return Aggregator(_unweighted, combine)


def geometric_median_weights(matrix: Matrix, voices: Matrix) -> Matrix:
    """Return the part of each update in their geometric median, ``[n]``; they add to 1.

    Args:
        matrix: Inner products of the updates, ``[n, n]``.
        voices: How much each has to say, ``[n]``, positive.
    """
    share: Matrix = voices / voices.sum()
    weights = share
    for _ in range(_WEISZFELD_STEPS):
        away = distances(matrix, weights)
        least = _SMOOTHING * float(np.median(away))
        if least == 0.0:
            least = _SMOOTHING * math.sqrt(float(np.diagonal(matrix).max())) or 1.0
        drawn = share / np.maximum(away, least)
        weights = drawn / drawn.sum()
    return weights


def centered_clip_weights(matrix: Matrix, voices: Matrix) -> Matrix:
    """Return the part of each update in their centred clipping, ``[n]``.

    They may add up to less than 1. For the arguments see ``geometric_median_weights``.
    """
    share: Matrix = voices / voices.sum()
    weights: Matrix = np.zeros_like(share)
    for _ in range(_CENTERING_STEPS):
        away = distances(matrix, weights)
        radius = float(np.median(away))
        kept = share * np.minimum(1.0, radius / np.maximum(away, radius or 1.0))
        weights = kept + (1.0 - kept.sum()) * weights
    return weights


def _of_distances(weights_of: Callable[[Matrix, Matrix], Matrix]) -> Aggregator:
    def weigh(cohort: Cohort) -> Sequence[float]:
        _check(cohort)
        found = weights_of(gram(cohort), np.array(cohort.weights))
        return [float(weight) for weight in found]

    return Aggregator(weigh, added_up)


def _unweighted(cohort: Cohort) -> Sequence[float]:
    _check(cohort)
    return [1.0] * cohort.count


def _check(cohort: Cohort) -> None:
    if not sum(cohort.weights) > 0.0:
        raise EmptyRoundError("a merge needs at least one update, none was added")


def _sorted(rows: Iterable[Vector]) -> Vector:
    """Return a chunk of all updates, every parameter sorted: ``[n, length]``."""
    held = np.stack([row.copy() for row in rows])
    held.sort(axis=0)
    return held
