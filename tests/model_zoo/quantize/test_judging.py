"""What an artifact loses, as a number for each task."""

from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from model_zoo.quantize.judging import Answers, compare
from wire_protocol.manifest import Task


@pytest.mark.parametrize("task", get_args(Task))
def test_equal_answers_lose_nothing(task: Task) -> None:
    rng = np.random.default_rng(0)
    said = Answers(
        rng.normal(size=(6, 3)).astype(np.float32), np.arange(6, dtype=np.float32)
    )
    targets: dict[Task, NDArray[Any]] = {
        "classification": rng.integers(0, 3, 6),
        "reconstruction": np.arange(6) % 2,
        "binary": rng.integers(0, 2, (6, 3)).astype(np.float32),
        "regression": rng.normal(size=(6, 3)),
    }
    found = compare(task, said, said, y=targets[task])
    assert (found.loss, found.max_error) == (0, 0)
    assert found.value == found.reference
    assert found.agreement == (1 if task in {"classification", "binary"} else None)


def test_a_loss_is_positive_where_quality_falls() -> None:
    good, bad = (
        np.array([[1.0], [2.0]], np.float32),
        np.array([[3.0], [2.0]], np.float32),
    )
    y = np.array([[1.0], [2.0]], np.float32)
    assert compare("regression", Answers(good), Answers(bad), y=y).loss == 1.0
    one, other = np.eye(2, dtype=np.float32), np.ones((2, 2), np.float32)
    found = compare("classification", Answers(one), Answers(other), y=np.arange(2))
    assert (found.loss, found.agreement) == (0.5, 0.5)
    assert compare("binary", Answers(good), Answers(-good), y=y).loss == 1.0


def test_one_kind_of_example_has_no_curve() -> None:
    said = Answers(np.zeros((3, 2), np.float32), np.arange(3, dtype=np.float32))
    found = compare("reconstruction", said, said, y=np.zeros(3, np.int32))
    assert (found.value, found.loss) == (None, None)
