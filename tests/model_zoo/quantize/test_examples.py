"""Calibration and judging examples: of the right sets, and checked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_zoo import zoo
from model_zoo.data.catalog import load
from model_zoo.quantize.examples import calibration, judging
from wire_protocol.errors import ConfigError

MODEL = zoo.model("digits-mlp")


def rows(x: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in x]


def test_no_example_calibrates_and_judges() -> None:
    x = calibration(MODEL, "digits", count=10_000, seed=3, environ={})
    judge = judging(MODEL, "digits", seed=3, environ={})
    dataset = load("digits", seed=3, environ={})
    assert sorted(rows(judge.x)) == sorted(rows(dataset.x[dataset.held_out]))
    # by value, images may repeat; all of the rest calibrate, and no other
    assert sorted(rows(x)) == sorted(rows(dataset.x[~dataset.held_out]))


def test_the_seed_chooses_the_examples() -> None:
    one, again, other = (
        calibration(MODEL, "digits", count=20, seed=seed, environ={})
        for seed in (1, 1, 2)
    )
    assert len(one) == 20
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_examples_come_from_a_file(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(0, 16, (5, 64)).astype(np.float32)
    path = tmp_path / "mine.npz"
    np.savez(path, x=x, y=np.arange(5, dtype=np.int32))
    assert len(calibration(MODEL, str(path), count=99, seed=0, environ={})) == 5
    assert np.array_equal(judging(MODEL, str(path), seed=0, environ={}).x, x)


@pytest.mark.parametrize(
    ("x", "y", "problem"),
    [
        (np.zeros((3, 8, 8), np.float32), np.zeros(3, np.int32), "takes float32"),
        (np.zeros((3, 64)), np.zeros(3, np.int32), "x is float64"),
        (np.zeros((0, 64), np.float32), np.zeros(0, np.int32), "takes float32"),
        (np.full((3, 64), np.nan, np.float32), np.zeros(3, np.int32), "not finite"),
        (np.zeros((3, 64), np.float32), np.full(3, 10, np.int32), "is judged by"),
        (np.zeros((3, 64), np.float32), np.zeros(2, np.int32), "is judged by"),
        (np.zeros((3, 64), np.float32), np.zeros(3), "y is float64"),
    ],
)
def test_examples_that_do_not_fit_are_an_error(
    tmp_path: Path, x: np.ndarray, y: np.ndarray, problem: str
) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, x=x, y=y)
    with pytest.raises(ConfigError, match=problem):
        judging(MODEL, str(path), seed=0, environ={})


def test_tokens_are_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "words.npz"
    np.savez(path, x=np.full((2, 64), 0.5, np.float32))
    with pytest.raises(ConfigError, match="whole numbers below 9"):
        calibration(replace(MODEL, tokens=9), str(path), count=2, seed=0, environ={})


def test_missing_things_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        calibration(MODEL, str(tmp_path / "none.npz"), count=1, seed=0, environ={})
    with pytest.raises(ConfigError, match="there is no data set"):
        calibration(MODEL, "digit", count=1, seed=0, environ={})
    with pytest.raises(ConfigError, match="1 example or more"):
        calibration(MODEL, "digits", count=0, seed=0, environ={})
    other = replace(MODEL, task="regression", outputs=10)
    with pytest.raises(ConfigError, match="digits is for classification"):
        judging(other, "digits", seed=0, environ={})
