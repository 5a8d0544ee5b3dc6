"""A federation trains on what is not judged, and judges on what no device holds."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.data.dataset import Dataset
from model_zoo.data.federation import Federation, federate, write_shard
from model_zoo.data.skew import Dirichlet, Iid, Natural, Shards
from wire_protocol.errors import ConfigError
from wire_protocol.npz import load_arrays

N, PEOPLE = 240, 6
_rng = np.random.default_rng(5)
_client = np.sort(_rng.integers(0, PEOPLE, N)).astype(np.int32)
PLAIN = Dataset(
    name="toy",
    # Every example says its own place, so that a test can see where it went.
    x=np.arange(N, dtype=np.float32)[:, np.newaxis],
    y=_rng.integers(0, 3, N).astype(np.int32),
    classes=("a", "b", "c"),
    held_out=_rng.random(N) < 0.2,
)
NATURAL = replace(
    PLAIN,
    client=_client,
    clients=tuple(f"person-{number}" for number in range(PEOPLE)),
    unseen=_client >= 4,
)


def places(federation: Federation) -> list[int]:
    return [int(place) for shard in federation.shards for place in shard.x[:, 0]]


@given(
    natural=st.booleans(),
    devices=st.none() | st.integers(1, 4),
    alpha=st.sampled_from([None, 0.1, 1.0, math.inf]),
    unseen=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_shards_and_test_set_hold_every_example_at_most_once(
    natural: bool, devices: int | None, alpha: float | None, unseen: bool, seed: int
) -> None:
    unseen = unseen and natural
    dataset = NATURAL if natural else PLAIN
    made = federate(dataset, devices=devices, alpha=alpha, unseen=unseen, seed=seed)
    judging = dataset.unseen if unseen else dataset.held_out
    assert sorted(places(made)) == np.flatnonzero(~judging).tolist()
    assert made.test_x[:, 0].tolist() == np.flatnonzero(judging).tolist()
    assert np.array_equal(made.test_y, dataset.y[judging])
    for shard in made.shards:
        assert shard.y is not None
        assert np.array_equal(shard.y, dataset.y[shard.x[:, 0].astype(int)])
    assert len({shard.name for shard in made.shards}) == len(made.shards)
    if devices is not None:
        assert len(made.shards) == devices
    again = federate(dataset, devices=devices, alpha=alpha, unseen=unseen, seed=seed)
    assert places(again) == places(made)


def names(federation: Federation) -> list[str]:
    return [shard.name for shard in federation.shards]


def test_without_clients_six_devices_share_by_label_skew() -> None:
    made = federate(PLAIN, seed=0)
    assert names(made) == [f"device-0{number}" for number in range(1, 7)]
    assert places(made) == places(federate(PLAIN, seed=0, devices=6, alpha=0.3))
    assert places(made) != places(federate(PLAIN, seed=1))


def test_every_natural_client_has_a_device_of_its_own() -> None:
    assert names(federate(NATURAL, seed=0)) == list(NATURAL.clients)
    made = federate(NATURAL, seed=0, unseen=True)
    assert names(made) == list(NATURAL.clients[:4])
    for number, shard in enumerate(made.shards):
        assert set(NATURAL.client[shard.x[:, 0].astype(int)]) == {number}


def test_clients_that_share_a_device_give_it_a_number() -> None:
    assert names(federate(NATURAL, seed=0, devices=5)) == [
        f"device-0{number}" for number in range(1, 6)
    ]


def test_alpha_mixes_natural_clients() -> None:
    made = federate(NATURAL, seed=0, devices=2, alpha=1000.0)
    owners = NATURAL.client[made.shards[0].x[:, 0].astype(int)]
    assert len(set(owners)) == PEOPLE


def test_a_partition_mixes_natural_clients_or_keeps_them() -> None:
    assert names(federate(NATURAL, seed=0, partition=Natural())) == list(
        NATURAL.clients
    )
    made = federate(NATURAL, seed=0, devices=4, partition=Shards(1))
    for shard in made.shards:
        assert shard.y is not None
        assert len(np.unique(shard.y)) <= 2
    assert made.partition == Shards(1)
    assert federate(PLAIN, seed=0, alpha=math.inf).partition == Iid()


def test_alpha_is_short_for_a_dirichlet_partition() -> None:
    short = federate(NATURAL, seed=0, alpha=0.3)
    assert places(short) == places(federate(NATURAL, seed=0, partition=Dirichlet(0.3)))
    with pytest.raises(ConfigError, match="both given"):
        federate(NATURAL, seed=0, alpha=0.3, partition=Iid())
    with pytest.raises(ConfigError, match="toy has no natural clients"):
        federate(PLAIN, seed=0, partition=Natural())


def test_shifted_devices_read_differently_and_the_test_set_does_not() -> None:
    plain = federate(NATURAL, seed=0)
    made = federate(NATURAL, seed=0, shift=0.5)
    assert np.array_equal(made.test_x, plain.test_x)
    ratios = []
    for shard, was in zip(made.shards, plain.shards, strict=True):
        assert np.array_equal(shard.y, was.y)  # type: ignore[arg-type]
        ratios.append(np.polyfit(was.x[:, 0], shard.x[:, 0], 1)[0])
    assert np.std(np.log(np.abs(ratios))) > 0.1
    again = federate(NATURAL, seed=0, shift=0.5)
    for shard, same in zip(made.shards, again.shards, strict=True):
        assert np.array_equal(shard.x, same.x)


ALL = np.ones(N, np.bool_)
REFUSED = {
    "no unseen people": ((PLAIN, None, True), "toy has no unseen people to judge"),
    "no hold-out": (
        (replace(PLAIN, held_out=~ALL), None, False),
        "toy has no hold-out to judge",
    ),
    "nothing to train": ((replace(PLAIN, held_out=ALL), None, False), "to judge with"),
    "too many people": ((NATURAL, 5, True), "5 devices cannot share 4 natural"),
    "too many devices": ((PLAIN, 100, False), "100 devices with at least 10"),
}


@pytest.mark.parametrize(("asked", "says"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_federated_is_refused(
    asked: tuple[Dataset, int | None, bool], says: str
) -> None:
    dataset, devices, unseen = asked
    with pytest.raises(ConfigError, match=says):
        federate(dataset, devices=devices, unseen=unseen, seed=0)


@pytest.mark.parametrize("alpha", [0.0, -math.inf, math.nan], ids=str)
def test_an_alpha_that_is_none_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="alpha is from"):
        federate(PLAIN, alpha=alpha, seed=0)


def test_a_written_shard_is_what_an_agent_reads(tmp_path: Path) -> None:
    shard = federate(NATURAL, seed=0).shards[2]
    path = tmp_path / "examples.npz"
    write_shard(shard, path)
    read = load_arrays(path, ("x", "y"), max_bytes=100_000)
    assert read["x"].dtype == np.float32
    assert read["y"].dtype == np.int32
    assert np.array_equal(read["x"], shard.x)
    assert shard.y is not None
    assert np.array_equal(read["y"], shard.y)


MEASURED = replace(
    NATURAL,
    task="regression",
    classes=(),
    y=_rng.normal(size=(N, 2)).astype(np.float32),
)
NORMAL = replace(
    NATURAL,
    task="reconstruction",
    classes=(),
    y=(_rng.random(N) < 0.3).astype(np.int32),
)


@given(alpha=st.sampled_from([None, 0.3, math.inf]), unseen=st.booleans())
def test_targets_go_where_their_examples_go(alpha: float | None, unseen: bool) -> None:
    made = federate(MEASURED, alpha=alpha, unseen=unseen, seed=3)
    assert made.task == "regression"
    for shard in made.shards:
        assert shard.y is not None
        assert np.array_equal(shard.y, MEASURED.y[shard.x[:, 0].astype(int)])


@given(alpha=st.sampled_from([None, 0.3, math.inf]), unseen=st.booleans())
def test_anomalies_judge_and_never_train(alpha: float | None, unseen: bool) -> None:
    made = federate(NORMAL, alpha=alpha, unseen=unseen, seed=3)
    judging = NORMAL.unseen if unseen else NORMAL.held_out
    wanted = np.flatnonzero(~judging & (NORMAL.y == 0))
    assert sorted(places(made)) == wanted.tolist()
    assert all(shard.y is None for shard in made.shards)
    assert np.array_equal(made.test_y, NORMAL.y[judging])


def test_a_set_without_normal_examples_is_refused() -> None:
    broken = replace(NORMAL, y=np.ones(N, np.int32))
    with pytest.raises(ConfigError, match="no normal example"):
        federate(broken, seed=0)


def test_a_skewed_partition_of_targets_is_skewed_by_target() -> None:
    def spread(alpha: float) -> float:
        made = federate(MEASURED, devices=4, alpha=alpha, seed=0)
        means = [shard.y[:, 0].mean() for shard in made.shards if shard.y is not None]
        return float(np.std(means))

    assert spread(0.1) > 3 * spread(math.inf)


@pytest.mark.parametrize(
    ("dataset", "names"),
    [(MEASURED, {"x", "y"}), (NORMAL, {"x"})],
    ids=["regression", "reconstruction"],
)
def test_a_written_shard_of_another_task_holds_what_its_trainer_takes(
    dataset: Dataset, names: set[str], tmp_path: Path
) -> None:
    shard = federate(dataset, seed=0).shards[1]
    path = tmp_path / "examples.npz"
    write_shard(shard, path)
    with np.load(path, allow_pickle=False) as read:
        assert set(read) == names
    read_back = load_arrays(path, names, max_bytes=100_000)
    assert np.array_equal(read_back["x"], shard.x)
    if shard.y is not None:
        assert read_back["y"].dtype == np.float32
        assert np.array_equal(read_back["y"], shard.y)
