"""Cohorts: what every draw keeps, and that the seed decides."""

from hypothesis import given
from hypothesis import strategies as st

from broker_server.sampling import cohort_size, draw_cohort

fleets = st.sets(st.text("abc123", min_size=1, max_size=6), max_size=40)


@given(fleets, st.integers(0, 2**53), st.integers(1, 1000), st.floats(0, 1))
def test_a_cohort_is_a_sorted_part_of_the_fleet_of_the_right_size(
    fleet: set[str], seed: int, number: int, fraction: float
) -> None:
    cohort = draw_cohort(fleet, seed=seed, round_number=number, fraction=fraction)
    assert set(cohort) <= fleet
    assert list(cohort) == sorted(set(cohort))
    assert len(cohort) == min(len(fleet), max(1, round(fraction * len(fleet))))


@given(st.permutations(sorted("abcdefgh")), st.integers(0, 99), st.integers(1, 99))
def test_the_order_in_which_devices_came_does_not_matter(
    fleet: list[str], seed: int, number: int
) -> None:
    def draw(devices: list[str]) -> tuple[str, ...]:
        return draw_cohort(devices, seed=seed, round_number=number, fraction=0.5)

    assert draw(fleet) == draw(sorted(fleet))


def test_every_device_is_drawn_about_equally_often() -> None:
    fleet = [f"d{i}" for i in range(10)]
    drawn = [
        device
        for number in range(1, 401)
        for device in draw_cohort(fleet, seed=3, round_number=number, fraction=0.5)
    ]
    assert all(150 < drawn.count(device) < 250 for device in fleet)


def test_another_seed_draws_other_cohorts() -> None:
    fleet = [f"d{i}" for i in range(20)]
    draws = {
        draw_cohort(fleet, seed=seed, round_number=1, fraction=0.25)
        for seed in range(20)
    }
    assert len(draws) > 15


def test_a_fraction_of_zero_still_draws_one() -> None:
    assert cohort_size(7, fraction=0.0) == 1
    assert cohort_size(0, fraction=1.0) == 0
