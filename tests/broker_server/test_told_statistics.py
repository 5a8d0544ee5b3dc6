"""What devices tell of their inputs: honest words as they are, no word for many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_server.told_statistics import moderated
from wire_protocol.feature_statistics import (
    FeatureStatistics,
    feature_statistics,
    moments,
)

CAP = 5.0


def told(seed: int, count: int = 50, shift: float = 0.0) -> FeatureStatistics:
    x = np.random.default_rng(seed).normal(shift, 2.0, (count, 3)).astype(np.float32)
    x[:, 2] = 7.0  # one that never changes
    found = feature_statistics(x)
    assert found is not None
    return found


@given(st.lists(st.integers(40, 60), min_size=1, max_size=9), st.floats(-6.0, 6.0))
@settings(max_examples=50)
def test_honest_statistics_pass_to_the_bit(counts: list[int], shift: float) -> None:
    parts = [told(seed, count, shift * (seed % 3)) for seed, count in enumerate(counts)]
    assert moderated(parts, cap=CAP) == parts


def of_float32(value: float) -> float:
    """Return ``value`` as an input can have it: sums of smaller ones underflow."""
    return float(np.float32(value))


@given(
    count=st.integers(1, 10**9),
    mean=st.floats(-1e9, 1e9).map(of_float32),
    spread=st.floats(0.0, 1e9).map(of_float32),
)
def test_one_liar_of_six_cannot_take_mean_or_scale_away(
    count: int, mean: float, spread: float
) -> None:
    square = (mean * mean + spread * spread) * count
    liar = FeatureStatistics(count, (mean * count,) * 3, (square * 1.000001,) * 3)
    found, deviation = moments(moderated([*map(told, range(5)), liar], cap=CAP))
    # half of the pooled examples at most, ten deviations away
    assert (np.abs(found[:2]) <= 12.0).all()
    assert (deviation[:2] <= 24.0).all()
    assert (deviation[:2] >= 1.0).all()


def test_without_that_it_would() -> None:
    liar = FeatureStatistics(10**9, (1e15,) * 3, (1e21 * 1.01,) * 3)
    found, _ = moments([*map(told, range(5)), liar])
    assert found[0] == pytest.approx(1e6, rel=1e-3)


def test_a_channel_that_most_devices_lack_is_left_to_who_has_it() -> None:
    still = [FeatureStatistics(10, (0.0,), (0.0,)) for _ in range(4)]
    alive = FeatureStatistics(10, (50.0,), (400.0,))
    assert moderated([*still, alive], cap=CAP) == [*still, alive]


def test_of_two_devices_neither_is_the_majority() -> None:
    parts = [told(0), FeatureStatistics(10**6, (1e12,) * 3, (1e19,) * 3)]
    assert moderated(parts, cap=CAP) == parts
