"""Metrics: what people are told of a model, one for each task. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import ConfigError
from wire_protocol.manifest import Task

Better: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Metric:
    """What people are told of a model.

    Attributes:
        name: As it is shown.
        better: Which of two values is.
        most: Its greatest value; None: it has none.
    """

    name: str
    better: Better
    most: float | None

    def reaches(self, quality: float, target: float) -> bool:
        """Whether ``quality`` is at least as good as ``target``."""
        return quality >= target if self.better == "higher" else quality <= target


METRICS: Final[Mapping[Task, Metric]] = {
    "classification": Metric("accuracy", "higher", 1.0),
    "regression": Metric("mean absolute error", "lower", None),
    "binary": Metric("right bits", "higher", 1.0),
    "reconstruction": Metric("ROC AUC", "higher", 1.0),
}


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
