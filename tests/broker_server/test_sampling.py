"""Cohorts: what every draw keeps, and that the seed decides."""

from hypothesis import given
from hypothesis import strategies as st

from broker_server.sampling import cohort_size, draw_cohort, merge_size
from wire_protocol.messages import MAX_COHORT

fleets = st.sets(st.text("abc123", min_size=1, max_size=6), max_size=40)


@given(fleets, st.integers(0, 2**53), st.integers(1, 1000), st.integers(0, 50))
def test_a_cohort_is_a_sorted_part_of_the_fleet_of_the_right_size(
    fleet: set[str], seed: int, number: int, size: int
) -> None:
    cohort = draw_cohort(fleet, seed=seed, round_number=number, size=size)
    assert set(cohort) <= fleet
    assert list(cohort) == sorted(set(cohort))
    assert len(cohort) == min(len(fleet), size)


@given(st.integers(0, 600), st.integers(0, 600), st.floats(1, 10))
def test_enough_are_invited_for_a_merge_and_never_more_than_there_are(
    eligible: int, wanted: int, over_select: float
) -> None:
    size = cohort_size(eligible, wanted=wanted, over_select=over_select)
    assert min(eligible, wanted, MAX_COHORT) <= size <= min(eligible, MAX_COHORT)


@given(st.permutations(sorted("abcdefgh")), st.integers(0, 99), st.integers(1, 99))
def test_the_order_in_which_devices_came_does_not_matter(
    fleet: list[str], seed: int, number: int
) -> None:
    def draw(devices: list[str]) -> tuple[str, ...]:
        return draw_cohort(devices, seed=seed, round_number=number, size=4)

    assert draw(fleet) == draw(sorted(fleet))


def test_every_device_is_drawn_about_equally_often() -> None:
    fleet = [f"d{i}" for i in range(10)]
    drawn = [
        device
        for number in range(1, 401)
        for device in draw_cohort(
            fleet, seed=3, round_number=number, size=len(fleet) // 2
        )
    ]
    assert all(150 < drawn.count(device) < 250 for device in fleet)


def test_another_seed_draws_other_cohorts() -> None:
    fleet = [f"d{i}" for i in range(20)]
    draws = {
        draw_cohort(fleet, seed=seed, round_number=1, size=5) for seed in range(20)
    }
    assert len(draws) > 15


def test_a_fraction_of_zero_still_draws_one() -> None:
    assert merge_size(7, fraction=0.0) == 1
    assert merge_size(0, fraction=1.0) == 0
