"""What people are told of a model, by its task; and areas under ROC curves. Pure.

>>> METRICS["regression"].name
'mean absolute error'
>>> roc_auc(np.array([0.1, 0.4, 0.4, 0.9]), positive=np.array([0, 0, 1, 1]) == 1)
0.875
"""

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


def roc_auc(scores: NDArray[np.floating], *, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often an anomaly scores above a normal example.

    An equal score counts half (Mann and Whitney 1947; Hanley and McNeil 1982).

    Args:
        scores: Higher is more anomalous, shape ``[N]``.
        positive: Which examples are anomalous, shape ``[N]``.

    Raises:
        ConfigError: One of the two kinds is missing, or a score is not finite.
    """
    if scores.shape != positive.shape or scores.ndim != 1:
        raise ConfigError(
            f"scores {list(scores.shape)} do not fit marks {list(positive.shape)}"
        )
    if not np.isfinite(scores).all():
        raise ConfigError("an anomaly score is not finite")
    anomalies = int(positive.sum())
    normal = len(positive) - anomalies
    if not anomalies or not normal:
        raise ConfigError(
            f"{anomalies} anomalous and {normal} normal examples have no ROC curve"
        )
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    # Equal scores share the mean of the ranks they take together.
    last = np.cumsum(count)
    rank = (last - (count - 1) / 2)[place]
    above = rank[positive].sum() - anomalies * (anomalies + 1) / 2
    return float(above / (anomalies * normal))


def client_roc_aucs(
    scores: NDArray[np.floating],
    *,
    positive: NDArray[np.bool_],
    client: NDArray[np.integer],
) -> dict[int, float]:
    """Area under the ROC curve of each client that has both kinds of examples.

    A threshold is set device by device, so their mean says more than one area over the
    mixed scores of all.

    Args:
        scores: Higher is more anomalous, shape ``[N]``.
        positive: Which examples are anomalous, shape ``[N]``.
        client: Whose each example is, shape ``[N]``.
    """
    areas = {}
    for owner in np.unique(client).tolist():
        mine = client == owner
        if 0 < positive[mine].sum() < mine.sum():
            areas[owner] = roc_auc(scores[mine], positive=positive[mine])
    return areas
