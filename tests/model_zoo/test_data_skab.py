"""Runs of a pump become windows that are told relative to its calibration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.data import skab
from model_zoo.data.catalog import load
from model_zoo.data.federation import federate
from tests.model_zoo.test_data_catalog import environ_with
from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array


def run_arrays(run: int, rows: int = 1000, *, anomalous: slice) -> dict[str, Array]:
    rng = np.random.default_rng(run)
    y = np.zeros(rows, np.uint8)
    y[anomalous] = 1
    x = rng.normal(50, 5, (rows, 8)) + np.outer(y, np.arange(8.0))
    return {
        "x": x.astype(np.float32),
        "y": y,
        "client_id": np.full(rows, run, np.uint8),
        "time": np.arange(rows, dtype=np.int64),
    }


def both(*parts: dict[str, Array]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@given(
    steps=st.lists(st.integers(1, 2 * skab.GAP_S), min_size=40, max_size=200),
    cut=st.integers(1, 250),
)
def test_windows_are_whole_and_cross_nothing(steps: list[int], cut: int) -> None:
    time = np.cumsum(steps)
    starts = skab.window_starts(time, cut=cut)
    assert len(set(starts.tolist())) == len(starts)
    for start in starts.tolist():
        rows = np.arange(start, start + skab.WINDOW)
        assert rows[-1] < len(time)
        assert np.diff(time[rows]).max() <= skab.GAP_S
        assert len(set((rows >= cut).tolist())) == 1


def test_no_window_that_fits_is_left_out() -> None:
    time = np.arange(100)
    assert skab.window_starts(time, cut=60).tolist() == [0, 8, 16, 24, 60, 68]
    time[20:] += skab.GAP_S + 1
    assert skab.window_starts(time, cut=60).tolist() == [20, 28, 60, 68]


def test_a_machine_is_told_by_its_own_scale() -> None:
    calibration = np.array([[10.0, -1.0], [14.0, 1.0]])
    made = skab.relative(np.array([[12.0, 0.5], [99.0, -9.0]]), calibration=calibration)
    assert made.dtype == np.float32
    assert made.tolist() == [[0.0, 0.5], [skab.LIMIT, -skab.LIMIT]]
    with pytest.raises(ConfigError, match="one value throughout its calibration"):
        skab.relative(calibration, calibration=np.ones((5, 2)))


def test_a_run_is_calibrated_and_unseen_runs_judge_after_that() -> None:
    trains, judges = skab.RUNS.index("valve1/2"), skab.RUNS.index("valve1/3")
    dataset = skab.assemble(
        both(*(run_arrays(run, anomalous=slice(600, 800)) for run in (trains, judges)))
    )
    assert dataset.example_shape == (32, 8)
    assert set(dataset.client.tolist()) == {trains, judges}
    assert np.array_equal(dataset.unseen, dataset.client == judges)
    assert np.array_equal(dataset.unseen, dataset.held_out)
    assert dataset.unseen.sum() == (600 - 32) // 8 + 1
    anomalous = [start + 31 >= 600 and start < 800 for start in range(400, 969, 8)]
    assert dataset.y[dataset.unseen].tolist() == anomalous
    federation = federate(dataset, seed=0, unseen=True)
    assert [shard.name for shard in federation.shards] == ["valve1-2"]
    assert len(federation.shards[0]) == (400 - 32) // 8 + 1


def test_what_is_anomalous_while_it_is_calibrated_does_not_train() -> None:
    quiet, odd = run_arrays(0, anomalous=slice(0)), run_arrays(22, anomalous=slice(300))
    federation = federate(
        skab.assemble(
            both(
                quiet,
                odd,
                run_arrays(3, anomalous=slice(0)),
                run_arrays(4, anomalous=slice(0)),
            )
        ),
        seed=0,
    )
    sizes = {shard.name: len(shard) for shard in federation.shards}
    assert sizes["other-2"] == sum(start >= 300 for start in range(0, 369, 8))
    assert sizes["anomaly-free-anomaly-free"] == (400 - 32) // 8 + 1


def test_runs_that_were_never_published_are_refused() -> None:
    with pytest.raises(ConfigError, match="skab has runs 0 to 34, not"):
        skab.assemble(run_arrays(35, anomalous=slice(0)))


def test_real_skab_trains_27_runs_and_is_judged_by_8_experiments() -> None:
    dataset = load("skab", seed=0, environ=environ_with("skab"))
    assert len(dataset) == 1949
    made = federate(dataset, unseen=True, seed=0)
    assert len(made.shards) == 27
    assert {shard.y is None for shard in made.shards} == {True}
    judges = {dataset.clients[client] for client in dataset.client[dataset.unseen]}
    assert judges == {
        "valve1-3", "valve1-7", "valve1-11", "valve1-15", "valve2-3",
        "other-4", "other-8", "other-12",
    }  # fmt: skip
    assert 0.5 < made.test_y.mean() < 0.65
    # In units of its own calibration, a sensor is near 0 while nothing is wrong.
    normal = ~dataset.held_out
    assert np.abs(dataset.x[normal].mean((0, 1))).max() < 0.25
