"""Metrics: the area under the curve is a probability, and knows ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model_zoo.metrics import METRICS, roc_auc
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import TASKS

KINDS = arrays(np.bool_, st.integers(2, 40)).filter(
    lambda kinds: 0 < kinds.sum() < kinds.size
)


@given(positive=KINDS, data=st.data())
def test_the_area_is_the_share_of_pairs_in_order(
    positive: np.ndarray[tuple[int], np.dtype[np.bool_]], data: st.DataObject
) -> None:
    levels = st.sampled_from([0.0, 0.25, 0.5, 2.0])  # so that some are equal
    scores = np.array(
        data.draw(st.lists(levels, min_size=len(positive), max_size=len(positive)))
    )
    high, low = scores[positive][:, None], scores[~positive][None]
    pairs = (high > low) + 0.5 * (high == low)
    assert roc_auc(scores, positive) == pytest.approx(pairs.mean())


def test_the_area_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(5)
    scores, positive = rng.integers(0, 30, 500) / 7, rng.random(500) < 0.3
    assert roc_auc(scores, positive) == pytest.approx(
        metrics.roc_auc_score(positive, scores)
    )


def test_one_kind_alone_cannot_be_ranked() -> None:
    with pytest.raises(ConfigError, match="one kind"):
        roc_auc(np.zeros(3), np.ones(3, np.bool_))


@pytest.mark.parametrize("task", TASKS)
def test_a_target_is_reached_from_the_better_side(task: str) -> None:
    metric = METRICS[task]  # type: ignore[index]
    better, worse = (0.9, 0.1) if metric.better == "higher" else (0.1, 0.9)
    assert metric.reaches(better, 0.5)
    assert metric.reaches(0.5, 0.5)
    assert not metric.reaches(worse, 0.5)
