"""Metrics: which values are better, and areas under ROC curves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from model_zoo.metrics import METRICS, client_roc_aucs, roc_auc
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import TASKS, Task

# Few different scores, so that many are equal.
rows = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30)
both_kinds = rows.filter(lambda them: len({anomaly for _, anomaly in them}) == 2)


def split(them: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    scores, positive = zip(*them, strict=True)
    return np.array(scores, np.float64), np.array(positive, np.bool_)


@given(them=both_kinds)
def test_it_is_the_share_of_pairs_that_are_told_apart(
    them: list[tuple[int, bool]],
) -> None:
    scores, positive = split(them)
    pairs = scores[positive][:, np.newaxis] - scores[~positive]
    area = roc_auc(scores, positive=positive)
    assert area == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert area == pytest.approx(roc_auc_score(positive, scores))
    assert roc_auc(-scores, positive=positive) == pytest.approx(1 - area)
    assert roc_auc(np.exp(scores), positive=positive) == area


def test_clients_with_one_kind_have_no_area_of_their_own() -> None:
    areas = client_roc_aucs(
        np.array([1.0, 2.0, 3.0, 9.0, 8.0]),
        positive=np.array([False, True, True, True, False]),
        client=np.array([4, 4, 5, 7, 7]),
    )
    assert areas == {4: 1.0, 7: 1.0}


WRONG = {
    "one kind": (np.zeros(3), np.ones(3, np.bool_), "3 anomalous and 0 normal"),
    "nothing": (np.zeros(0), np.zeros(0, np.bool_), "0 anomalous and 0 normal"),
    "not finite": (np.array([0, np.nan]), np.array([True, False]), "not finite"),
    "lengths": (np.zeros(3), np.array([True, False]), "do not fit"),
    "a matrix": (np.zeros((2, 2)), np.eye(2, dtype=np.bool_), "do not fit"),
}


@pytest.mark.parametrize(
    ("scores", "positive", "says"), WRONG.values(), ids=list(WRONG)
)
def test_what_has_no_area_is_refused(
    scores: np.ndarray, positive: np.ndarray, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        roc_auc(scores, positive=positive)


@pytest.mark.parametrize("task", TASKS)
def test_a_target_is_reached_from_the_better_side(task: Task) -> None:
    metric = METRICS[task]
    better, worse = (0.9, 0.1) if metric.better == "higher" else (0.1, 0.9)
    assert metric.reaches(better, 0.5)
    assert metric.reaches(0.5, 0.5)
    assert not metric.reaches(worse, 0.5)
