"""Partitions hold every example once, give enough to everyone, and can be repeated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model_zoo.data.partition import (
    Indices,
    by_client,
    dirichlet,
    iid,
    seeded,
    shards,
    stratified,
)
from wire_protocol.errors import ConfigError

labels = arrays(np.int32, st.integers(40, 300), elements=st.integers(0, 9))
seeds = st.integers(0, 2**64)
alphas = st.floats(1e-3, 1e6) | st.sampled_from([0.1, 0.3, 1.0])
devices = st.integers(1, 8)


def covers(parts: list[Indices], n: int) -> bool:
    return np.array_equal(np.sort(np.concatenate(parts)), np.arange(n))


@given(y=labels, devices=devices, alpha=alphas, seed=seeds, minimum=st.integers(0, 5))
def test_dirichlet_deals_every_example_once_and_enough_to_everyone(
    y: np.ndarray[tuple[int], np.dtype[np.int32]],
    devices: int,
    alpha: float,
    seed: int,
    minimum: int,
) -> None:
    parts = dirichlet(y, devices, alpha=alpha, rng=seeded(seed), minimum=minimum)
    assert len(parts) == devices
    assert covers(parts, len(y))
    assert min(len(part) for part in parts) >= minimum
    again = dirichlet(y, devices, alpha=alpha, rng=seeded(seed), minimum=minimum)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


@given(n=st.integers(8, 300), devices=devices, seed=seeds)
def test_iid_deals_every_example_once_and_evenly(
    n: int, devices: int, seed: int
) -> None:
    parts = iid(n, devices, rng=seeded(seed))
    sizes = [len(part) for part in parts]
    assert len(parts) == devices
    assert covers(parts, n)
    assert max(sizes) - min(sizes) <= 1


@given(y=labels, devices=devices, each=st.integers(1, 5), seed=seeds)
def test_shards_are_dealt_once_and_a_device_knows_few_classes(
    y: np.ndarray[tuple[int], np.dtype[np.int32]], devices: int, each: int, seed: int
) -> None:
    parts = shards(y, devices, each=each, rng=seeded(seed))
    assert covers(parts, len(y))
    assert [len(part) >= each for part in parts] == [True] * devices
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= each
    # A shard as large as the smallest class touches two classes at most.
    smallest = np.unique(y, return_counts=True)[1].min()
    if -(-len(y) // (devices * each)) <= smallest:
        assert all(len(np.unique(y[part])) <= 2 * each for part in parts)
    again = shards(y, devices, each=each, rng=seeded(seed))
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


@given(
    client=arrays(np.int32, st.integers(1, 200), elements=st.integers(0, 30)),
    data=st.data(),
)
def test_by_client_keeps_every_client_on_one_device(
    client: np.ndarray[tuple[int], np.dtype[np.int32]], data: st.DataObject
) -> None:
    clients = len(np.unique(client))
    wanted = data.draw(st.none() | st.integers(1, clients))
    parts = by_client(client, wanted)
    assert len(parts) == (clients if wanted is None else wanted)
    assert covers(parts, len(client))
    assert sum(len(np.unique(client[part])) for part in parts) == clients
    assert all(len(part) for part in parts)


@given(y=labels, seed=seeds, fraction=st.floats(0, 1))
def test_a_stratified_hold_out_has_its_share_of_every_class(
    y: np.ndarray[tuple[int], np.dtype[np.int32]], seed: int, fraction: float
) -> None:
    marked = stratified(y, fraction=fraction, rng=seeded(seed))
    for label in np.unique(y):
        assert abs(marked[y == label].sum() - fraction * (y == label).sum()) <= 0.5


def test_a_small_alpha_makes_devices_that_know_few_classes() -> None:
    y = np.repeat(np.arange(10, dtype=np.int32), 200)

    def commonest(alpha: float) -> float:
        parts = dirichlet(y, 10, alpha=alpha, rng=seeded(3))
        return float(
            np.mean([np.bincount(y[part]).max() / len(part) for part in parts])
        )

    assert commonest(0.05) > 0.6
    assert commonest(1000.0) < 0.15


def test_a_large_alpha_gives_everyone_the_same_of_every_class() -> None:
    y = np.repeat(np.arange(5, dtype=np.int32), 40)
    for part in dirichlet(y, 4, alpha=1e6, rng=seeded(0)):
        assert np.bincount(y[part]).tolist() == [10] * 5


def test_seeds_and_streams_give_other_partitions() -> None:
    y = np.repeat(np.arange(10, dtype=np.int32), 50)
    first, *others = (
        dirichlet(y, 4, alpha=0.3, rng=seeded(seed, stream))
        for seed, stream in ((0, 0), (1, 0), (0, 1))
    )
    for other in others:
        assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_clients_are_dealt_like_cards() -> None:
    parts = by_client(np.array([5, 5, 9, 2, 7, 9]), 2)
    assert [part.tolist() for part in parts] == [[3, 4], [0, 1, 2, 5]]


Y = np.zeros(30, np.int32)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: dirichlet(Y, 4, alpha=0.3, rng=seeded(0)), "with at least 10"),
        (lambda: dirichlet(Y, 0, alpha=0.3, rng=seeded(0)), "0 devices"),
        (lambda: dirichlet(Y, 2, alpha=0.0, rng=seeded(0)), "alpha is from 0.001"),
        (lambda: dirichlet(Y, 2, alpha=np.nan, rng=seeded(0)), "not nan"),
        (lambda: dirichlet(Y, 2, alpha=np.inf, rng=seeded(0)), "not inf"),
        (lambda: iid(3, 4, rng=seeded(0)), "4 devices"),
        (lambda: by_client(Y, 2), "2 devices cannot share 1 natural clients"),
        (lambda: by_client(Y, 0), "0 devices"),
        (lambda: seeded(-1), "a seed is 0 or more, not -1"),
    ],
    ids=[
        "too few examples", "no device", "alpha zero", "alpha nan", "alpha infinite",
        "too few to deal", "more devices than clients", "no device for clients",
        "negative seed",
    ],
)  # fmt: skip
def test_what_cannot_be_split_is_refused(build: object, says: str) -> None:
    assert callable(build)
    with pytest.raises(ConfigError, match=says):
        build()
