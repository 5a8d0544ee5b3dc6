"""Told statistics: what devices say of their inputs, before it is pooled.

Version 0 scales inputs by these sums, and nobody can check them. So no device counts
for more examples than ``cap`` times the median, nor may its mean or its second moment
about the others' be further off than is plausible. Honest ones pass as they are. This
module is pure.

>>> told = [FeatureStatistics(10, (m * 10.0,), (m * m * 10.0 + 9.0,)) for m in (1, 2)]
>>> liar = FeatureStatistics(10**6, (1e12,), (1e20,))
>>> [one.count for one in moderated([*told, liar], cap=5.0)]
[10, 10, 50]
"""

import statistics
from collections.abc import Sequence
from typing import Final

import numpy as np

from wire_protocol.feature_statistics import FeatureStatistics

_PLAUSIBLE: Final = 10.0
"""How many typical deviations from the median of all a device's mean may be."""
_FEWEST: Final = 3


def moderated(
    told: Sequence[FeatureStatistics], *, cap: float
) -> list[FeatureStatistics]:
    """Return statistics of which a minority cannot dominate the pooled ones.

    Args:
        told: Of one number of channels; below three devices there is no majority.
        cap: Examples a device counts for at most, in units of the median.
    """
    if len(told) < _FEWEST:
        return list(told)
    counts = np.array([float(one.count) for one in told])
    means = np.array([one.sums for one in told]) / counts[:, None]
    squares = np.array([one.squares for one in told]) / counts[:, None]
    middle = np.median(means, axis=0)
    about = np.maximum(squares - 2.0 * middle * means + middle * middle, 0.0)
    reach = _PLAUSIBLE * np.sqrt(np.median(about, axis=0))
    most = max(1, int(cap * statistics.median(one.count for one in told)))
    return [
        _held(one, count=min(one.count, most), middle=middle, reach=reach)
        for one in told
    ]


def _held(
    one: FeatureStatistics,
    *,
    count: int,
    middle: np.ndarray[tuple[int], np.dtype[np.float64]],
    reach: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> FeatureStatistics:
    mean, square = np.array(one.sums) / one.count, np.array(one.squares) / one.count
    about = square - 2.0 * middle * mean + middle * middle
    # where most devices are still, whoever is not may well be right
    far = (reach > 0.0) & (about > reach * reach)
    if count == one.count and not far.any():
        return one
    held_mean = np.clip(mean, middle - reach, middle + reach)
    held_square = reach * reach + 2.0 * middle * held_mean - middle * middle
    mean, square = np.where(far, held_mean, mean), np.where(far, held_square, square)
    return FeatureStatistics(
        count, tuple((mean * count).tolist()), tuple((square * count).tolist())
    )
