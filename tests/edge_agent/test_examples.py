"""The local examples: what is read, what is refused, and how they are split."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.examples import ExampleStore, MisfitError
from model_zoo import zoo
from tests.edge_agent.agents import write_examples
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import Task


def load(path: Path, *, holdout: float = 0.2, seed: int = 0) -> ExampleStore:
    return ExampleStore.load(path, holdout=holdout, seed=seed)


@given(
    count=st.integers(1, 60),
    holdout=st.floats(0, 0.9),
    seed=st.integers(0, 2**40),
)
def test_a_split_takes_every_example_once_and_is_repeated(
    tmp_path_factory: pytest.TempPathFactory, count: int, holdout: float, seed: int
) -> None:
    path = tmp_path_factory.mktemp("examples") / "e.npz"
    x = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    np.savez(path, x=x, y=np.arange(count) % 5)
    if count - round(count * holdout) < 1:
        return
    store = load(path, holdout=holdout, seed=seed)
    again = load(path, holdout=holdout, seed=seed)
    whole = np.concatenate([store.training.x, store.holdout.x])
    assert store.holdout.count == round(count * holdout)
    assert sorted(whole[:, 0]) == sorted(x[:, 0])
    assert (store.training.x == again.training.x).all()
    for part in (store.training, store.holdout):
        assert (part.y == (part.x[:, 0] / 2) % 5).all()


def test_another_seed_holds_out_other_examples(tmp_path: Path) -> None:
    path = write_examples(tmp_path / "e.npz")
    assert (load(path, seed=1).holdout.x != load(path, seed=2).holdout.x).any()


GOOD_X = np.zeros((4, 3), np.float32)
GOOD_Y = np.zeros(4, np.int64)
ARRAYS: dict[str, dict[str, Any]] = {
    "no examples, only labels": {"y": GOOD_Y},
    "doubles": {"x": GOOD_X.astype(np.float64), "y": GOOD_Y},
    "labels that are fractions": {"x": GOOD_X, "y": GOOD_Y.astype(np.float32)},
    "labels in two dimensions": {"x": GOOD_X, "y": GOOD_Y.reshape(2, 2)},
    "fewer labels": {"x": GOOD_X, "y": GOOD_Y[:3]},
    "nothing": {"x": GOOD_X[:0], "y": GOOD_Y[:0]},
    "no features": {"x": GOOD_X[:, 0], "y": GOOD_Y},
    "not a number": {"x": GOOD_X * np.nan, "y": GOOD_Y},
    "a negative label": {"x": GOOD_X, "y": GOOD_Y - 1},
    "a huge label": {"x": GOOD_X, "y": GOOD_Y + 2**40},
    "Python objects": {"x": GOOD_X, "y": np.array([None] * 4)},
    "texts": {"x": GOOD_X, "y": np.array(["a"] * 4)},
}


@pytest.mark.parametrize("name", ARRAYS)
def test_other_arrays_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "e.npz"
    np.savez(path, **ARRAYS[name])
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"e\.npz cannot be read"):
        load(tmp_path / "e.npz")


def test_a_file_that_is_no_npz_is_refused_with_what_to_write(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    path.write_bytes(b"x,y\n1,2\n")
    with pytest.raises(ConfigError, match=r"e\.npz cannot be read as \.npz") as caught:
        load(path)
    assert "numpy.savez" in caught.value.remedy


def test_more_examples_than_a_device_can_hold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 28, 2)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    with pytest.raises(ConfigError, match="declares 2147483648 bytes") as caught:
        load(path)
    assert caught.value.remedy == "keep fewer examples"


TARGETS: dict[Task, Any] = {
    "classification": np.zeros(4, np.int32),
    "regression": np.full((4, 2), -3, np.float32),
    "binary": np.ones((4, 2), np.float32),
    "reconstruction": None,
}


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("given", TARGETS)
def test_targets_fit_the_task_they_are_made_for(
    tmp_path: Path, task: Task, given: Task
) -> None:
    arrays = {"x": GOOD_X} | ({} if TARGETS[given] is None else {"y": TARGETS[given]})
    np.savez(tmp_path / "e.npz", **arrays)
    store = load(tmp_path / "e.npz")
    manifest = replace(
        zoo.manifest("digits-mlp"), task=task, input_shape=(3,), outputs=2, labels=()
    )
    fits = {
        ("regression", "binary"),
        ("reconstruction", "classification"),  # all of it is normal: class 0
        *((one, one) for one in TARGETS),
    }
    if (task, given) in fits:
        store.check_fit(manifest)
    else:
        with pytest.raises(MisfitError, match="wrong model for the data"):
            store.check_fit(manifest)


def test_anomalies_are_nothing_to_learn_from(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", x=GOOD_X, y=GOOD_Y + 1)
    task = replace(
        zoo.manifest("digits-mlp"),
        task="reconstruction", input_shape=(3,), outputs=3, labels=(),
    )  # fmt: skip
    with pytest.raises(MisfitError, match="all of it normal"):
        load(tmp_path / "e.npz").check_fit(task)


@pytest.mark.parametrize("value", [0.5, -1.0, 3.0])
def test_tokens_are_whole_numbers_below_their_count(
    tmp_path: Path, value: float
) -> None:
    manifest = replace(zoo.manifest("digits-mlp"), input_shape=(3,), tokens=3)
    x = np.full((4, 3), 2, np.float32)
    np.savez(tmp_path / "good.npz", x=x, y=GOOD_Y)
    load(tmp_path / "good.npz").check_fit(manifest)
    x[1, 2] = value
    np.savez(tmp_path / "bad.npz", x=x, y=GOOD_Y)
    with pytest.raises(MisfitError, match="whole numbers from 0 to 2"):
        load(tmp_path / "bad.npz").check_fit(manifest)


def test_a_changed_file_is_another_snapshot(tmp_path: Path) -> None:
    x = np.zeros((4, 3), np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=GOOD_Y)
    np.savez(tmp_path / "b.npz", x=x + 1, y=GOOD_Y)
    keys = {load(tmp_path / name).snapshot("").key for name in ("a.npz", "b.npz")}
    assert len(keys) == 2


def test_examples_of_another_task_do_not_fit_the_model(tmp_path: Path) -> None:
    manifest = zoo.manifest("digits-mlp")
    store = load(write_examples(tmp_path / "e.npz"))
    store.check_fit(manifest)
    with pytest.raises(MisfitError, match=r"takes \[50, 6\] in 5 classes"):
        store.check_fit(zoo.manifest("har-cnn1d"))
    with pytest.raises(MisfitError, match="labels up to 9"):
        store.check_fit(replace(manifest, outputs=9, labels=()))
