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
    assert np.array_equal(read["y"], shard.y)
