"""Token buckets: never more than the burst and the rate, and honest takers are free."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.limits import Bucket, Meters, Rate

amounts = st.floats(0, 50, allow_nan=False)
pauses = st.floats(0, 10, allow_nan=False)
rates = st.builds(
    Rate, per_s=st.floats(0.01, 100), burst=st.floats(0.5, 100, allow_nan=False)
)


@given(rates, st.lists(st.tuples(pauses, amounts), max_size=40))
def test_in_no_stretch_of_time_more_is_taken_than_burst_and_rate_allow(
    rate: Rate, asks: list[tuple[float, float]]
) -> None:
    bucket, now = Bucket.full(rate, now=0.0), 0.0
    taken: list[tuple[float, float]] = []
    for pause, amount in asks:
        now += pause
        left = bucket.taken(amount, now=now)
        if left is not None:
            bucket = left
            taken.append((now, amount))
    for first, (began, _) in enumerate(taken):
        total = 0.0
        for at, amount in taken[first:]:
            total += amount
            assert total <= (rate.burst + rate.per_s * (at - began)) * (1 + 1e-9)


@given(rates, st.integers(1, 60))
def test_who_keeps_to_the_rate_is_never_refused(rate: Rate, count: int) -> None:
    step = rate.burst / 2
    bucket = Bucket.full(rate, now=0.0)
    for turn in range(count):
        left = bucket.taken(step, now=turn * step / rate.per_s)
        assert left is not None
        bucket = left


def test_a_clock_that_goes_back_neither_gives_nor_takes() -> None:
    rate = Rate(1.0, 10.0)
    left = Bucket.full(rate, now=100.0).taken(10.0, now=100.0)
    assert left is not None
    assert left.level_at(50.0) == 0.0
    assert left.taken(0.0, now=50.0) == left


def test_a_refusal_costs_nothing() -> None:
    meters = Meters(Rate(1.0, 2.0), most_names=10)
    assert not meters.take("a", 3, now=0.0)
    assert meters.take("a", 2, now=0.0)


@pytest.mark.parametrize(("per_s", "burst"), [(0, 1), (1, 0), (-1, 1), (1, -1)])
def test_a_rate_of_nothing_is_a_mistake(per_s: float, burst: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Rate(per_s, burst)


def test_names_have_buckets_of_their_own() -> None:
    meters = Meters(Rate(1.0, 1.0), most_names=10)
    assert meters.take("a", 1, now=0.0)
    assert meters.take("b", 1, now=0.0)
    assert not meters.take("a", 1, now=0.0)


def test_inventing_names_gains_one_bucket_and_takes_no_memory() -> None:
    meters = Meters(Rate(1.0, 1.0), most_names=10)
    let = sum(meters.take(f"d{number}", 1, now=0.0) for number in range(1000))
    assert let == 11
    assert len(meters) == 11


def test_names_whose_buckets_are_full_make_room() -> None:
    meters = Meters(Rate(1.0, 2.0), most_names=3)
    for number in range(3):
        assert meters.take(f"d{number}", 2, now=0.0)
    assert meters.take("d1", 1, now=1.0)
    assert meters.take("new", 2, now=2.0)  # d0 is full again, and forgotten
    assert not meters.take("d1", 2, now=2.0)
    assert len(meters) == 3
