"""Clipping: bounds that a minority cannot move, and that leave the usual as it is."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.clipping import capped, clip_factors, norm_of, squared, usual_norm

# norms of float32 vectors: the smallest number is 1.4e-45
lengths = st.just(0.0) | st.floats(1e-45, 1e42)
positive = st.floats(1e-6, 1e6)


@given(st.lists(lengths, max_size=20), lengths)
def test_nothing_is_longer_than_the_bound_and_nothing_short_changes(
    norms: list[float], bound: float
) -> None:
    factors = clip_factors(norms, bound=bound)
    for norm, factor in zip(norms, factors, strict=True):
        assert norm * factor <= bound * (1 + 1e-12)
        assert factor == 1.0 or norm > bound


@given(
    honest=st.lists(positive, min_size=2, max_size=15),
    liars=st.lists(lengths, max_size=14),
)
def test_a_minority_cannot_move_the_bound_beyond_what_the_others_have(
    honest: list[float], liars: list[float]
) -> None:
    liars = liars[: len(honest) - 1]
    told = {f"h{number}": [norm] for number, norm in enumerate(honest)}
    told |= {f"l{number}": [norm] for number, norm in enumerate(liars)}
    assert min(honest) <= usual_norm(told) <= max(honest)


@given(st.lists(positive, min_size=2, max_size=9), st.integers(1, 500), lengths)
def test_a_device_has_one_voice_however_often_it_sends(
    honest: list[float], often: int, lie: float
) -> None:
    told = {f"h{number}": [norm] for number, norm in enumerate(honest)}
    assert usual_norm({**told, "liar": [lie] * often}) == usual_norm(
        {**told, "liar": [lie]}
    )


@given(st.dictionaries(st.text(), st.lists(positive, min_size=1)), st.floats(0.1, 10))
def test_the_usual_norm_scales_with_the_updates(
    told: dict[str, list[float]], factor: float
) -> None:
    scaled = {name: [factor * one for one in norms] for name, norms in told.items()}
    assert usual_norm(scaled) == pytest.approx(factor * usual_norm(told))


def test_updates_of_nothing_have_no_length_to_tell() -> None:
    assert usual_norm({"a": [0.0], "b": [0.0, 0.0], "c": [3.0]}) == 3.0
    assert usual_norm({"a": [0.0]}) == 0.0
    assert usual_norm({}) == 0.0


@given(st.lists(st.integers(1, 2**31), min_size=1, max_size=30), st.floats(1.0, 100.0))
def test_nobody_counts_for_more_than_the_cap(counts: list[int], cap: float) -> None:
    weights = capped(counts, cap=cap)
    most = cap * float(np.median(counts))
    assert max(weights) <= most
    assert all(
        weight == count
        for weight, count in zip(weights, counts, strict=True)
        if count <= most
    )


def test_no_float32_is_too_large_for_its_norm() -> None:
    largest = np.full(1000, np.finfo(np.float32).max)
    assert math.isfinite(squared(largest))
    assert norm_of(largest) == pytest.approx(float(largest[0]) * math.sqrt(1000))
