"""Ranking: how well scores tell two kinds of examples apart. Pure."""

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import ConfigError


def roc_auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Return the probability that a positive's score is above a negative's.

    Equal scores count half (the Mann-Whitney statistic; Hanley & McNeil, Radiology
    1982).

    >>> roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75

    Args:
        scores: Shape ``[N]``.
        positive: Shape ``[N]``; at least one of each kind.

    Raises:
        ConfigError: All examples are of one kind.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        raise ConfigError("all judging examples are of one kind, so none can rank them")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[place]  # the mean rank of equal scores, from 1
    above = float(ranks[positive].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)
