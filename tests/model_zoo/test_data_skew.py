"""A partition has a name; a shifted sensor is its own, fixed, and as strong as said."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.data.partition import seeded
from model_zoo.data.skew import (
    MAX_SHARDS,
    Dirichlet,
    Iid,
    Natural,
    Partition,
    Shards,
    divided,
    partition_named,
    shifted,
    skewed,
)
from wire_protocol.errors import ConfigError

partitions = st.one_of(
    st.just(Iid()),
    st.just(Natural()),
    st.builds(Dirichlet, st.integers(1, 10**6).map(lambda n: float(f"{n / 1000:g}"))),
    st.builds(Shards, st.integers(1, MAX_SHARDS)),
)


@given(partition=partitions)
def test_a_partition_is_what_its_name_says(partition: Partition) -> None:
    assert partition_named(str(partition)) == partition


@given(text=st.text(max_size=30) | st.from_regex(r"(iid|dirichlet|shards):.{0,9}"))
def test_any_other_text_is_refused(text: str) -> None:
    try:
        made = partition_named(text)
    except ConfigError:
        return
    assert type(made).__name__.lower() == text.partition(":")[0]


@pytest.mark.parametrize(
    "text",
    ["", "IID", "iid:1", "natural:2", "shards", "shards:0", "shards:1.5", "shards:1001",
     "dirichlet", "dirichlet:0", "dirichlet:nan", "dirichlet:-1", "dirichlet:-inf"],
)  # fmt: skip
def test_a_name_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        partition_named(text)


def test_no_skew_is_left_of_an_infinite_alpha() -> None:
    assert skewed(math.inf) == partition_named("dirichlet:inf") == Iid()
    assert skewed(0.3) == Dirichlet(0.3)


def test_a_partition_skews_as_much_as_it_says() -> None:
    y = np.repeat(np.arange(10, dtype=np.int32), 100)

    def known(partition: Iid | Dirichlet | Shards) -> float:
        parts = divided(partition, y, devices=10, rng=seeded(0))
        return float(np.mean([len(np.unique(y[part])) for part in parts]))

    assert known(Iid()) == 10
    assert known(Dirichlet(0.1)) < 6
    assert 1.5 <= known(Shards(2)) <= 2


X = seeded(1).normal(3.0, 2.0, (500, 7, 2)).astype(np.float32)
SPREAD = X.reshape(-1, 2).std(0)


@given(strength=st.floats(0.01, 3), seed=st.integers(0, 100))
def test_a_shifted_sensor_reads_by_gain_offset_and_noise(
    strength: float, seed: int
) -> None:
    read = shifted(X, strength=strength, spread=SPREAD, rng=seeded(seed))
    assert read.shape == X.shape
    assert read.dtype == np.float32
    again = shifted(X, strength=strength, spread=SPREAD, rng=seeded(seed))
    assert np.array_equal(read, again)
    gain, offset, noise = strength * seeded(seed).standard_normal((3, 2))
    rest = read - X * np.exp(gain) - offset * SPREAD
    deviations = np.abs(noise) / 4 * SPREAD
    assert np.allclose(rest.reshape(-1, 2).std(0), deviations, rtol=0.1)


def test_no_shift_changes_nothing() -> None:
    assert shifted(X, strength=0.0, spread=SPREAD, rng=seeded(0)) is X


@pytest.mark.parametrize("strength", [-0.1, 3.5, math.nan], ids=str)
def test_a_shift_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(ConfigError, match="a shift is from 0 to 3"):
        shifted(X, strength=strength, spread=SPREAD, rng=seeded(0))
