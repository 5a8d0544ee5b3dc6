"""A data set that exists is consistent."""

from dataclasses import replace

import numpy as np
import pytest

from model_zoo.data.dataset import Dataset, Targets
from wire_protocol.errors import ConfigError

TOY = Dataset(
    name="toy",
    x=np.zeros((3, 2), np.float32),
    y=np.array([0, 1, 1], np.int32),
    classes=("no", "yes"),
)
OWNED = replace(TOY, client=np.array([1, 0, 1], np.int32), clients=("ann", "bob"))


def test_what_is_left_out_marks_nothing_and_nobody() -> None:
    assert not TOY.held_out.any()
    assert not TOY.unseen.any()
    assert TOY.client.tolist() == [-1, -1, -1]
    assert (len(TOY), TOY.example_shape) == (3, (2,))


WRONG = {
    "no examples": ({"x": TOY.x[:0], "y": TOY.y[:0]}, "y is int32"),
    "fewer examples": ({"x": TOY.x[:2]}, "x is float32 .2, 2., which does not fit 3"),
    "float64": ({"x": TOY.x.astype(np.float64)}, "x is float64"),
    "scalars as examples": ({"x": TOY.x[:, 0]}, "x is float32 .3."),
    "labels int64": ({"y": TOY.y.astype(np.int64)}, "y is int64"),
    "a label too many": ({"classes": ("no",)}, "y goes from 0 to 1; 0 to 0"),
    "a negative label": ({"y": TOY.y - 1}, "y goes from -1"),
    "a short mask": ({"held_out": np.ones(2, np.bool_)}, "held_out is bool .2."),
    "a mask of numbers": ({"unseen": np.ones(3, np.int32)}, "unseen is int32"),
    "an unknown client": ({"clients": ("ann",)}, "client goes from 0 to 1; 0 to 0"),
    "clients without names": ({"clients": ()}, "client goes from 0 to 1; -1 to -1"),
    "names without clients": ({"client": TOY.client}, "client goes from -1"),
    "not finite": ({"x": np.full((3, 2), np.nan, np.float32)}, "is not finite"),
}


@pytest.mark.parametrize(("change", "says"), WRONG.values(), ids=list(WRONG))
def test_a_contradiction_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=f"toy: .*{says}"):
        replace(OWNED, **change)  # type: ignore[arg-type]


TARGETS = np.array([[0.5, 1], [1, 0], [0, 0]], np.float32)
MEASURED = replace(TOY, task="regression", classes=(), y=TARGETS)
BITS = replace(MEASURED, task="binary", y=np.rint(TARGETS))
NORMAL = replace(TOY, task="reconstruction", classes=())


def test_only_normal_examples_are_learnt_where_anomalies_are_looked_for() -> None:
    assert NORMAL.trainable.tolist() == [True, False, False]
    assert TOY.trainable.all()
    assert MEASURED.trainable.all()


WRONG_FOR_TASK = {
    "targets in a row": (MEASURED, TARGETS[:, 0], "y is float32 .3."),
    "no target": (MEASURED, TARGETS[:, :0], "y is float32 .3, 0."),
    "float64 targets": (MEASURED, TARGETS.astype(np.float64), "y is float64"),
    "classes as targets": (MEASURED, TOY.y, "y is int32"),
    "targets not finite": (
        MEASURED,
        TARGETS + np.float32(np.inf),
        "y has a value that is",
    ),
    "half a bit": (BITS, TARGETS, "neither 0 nor 1"),
    "a third state": (NORMAL, TOY.y * 2, "y goes from 0 to 2; 0 to 1"),
    "targets of anomalies": (NORMAL, TARGETS, "y is float32"),
}


@pytest.mark.parametrize(
    ("dataset", "y", "says"), WRONG_FOR_TASK.values(), ids=list(WRONG_FOR_TASK)
)
def test_targets_of_another_task_are_refused(
    dataset: Dataset, y: Targets, says: str
) -> None:
    with pytest.raises(ConfigError, match=f"toy: .*{says}"):
        replace(dataset, y=y)
