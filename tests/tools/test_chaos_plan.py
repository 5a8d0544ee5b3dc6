"""Chaos planned: everything drawn comes from the seed, and strikes within the run."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.chaos.plan import DAY_S, ChaosPlan, clock_jump_s, positions
from tools.chaos.scenarios import SCENARIOS, UNDISTURBED, chosen
from wire_protocol.errors import ConfigError


@given(seed=st.integers(), count=st.integers(0, 40), rounds=st.integers(2, 60))
def test_instants_are_in_order_within_the_run_and_the_seed_s_own(
    seed: int, count: int, rounds: int
) -> None:
    drawn = positions(Random(seed), count, rounds=rounds)
    assert len(drawn) == count
    assert list(drawn) == sorted(drawn)
    assert all(0 <= instant <= rounds - 1 for instant in drawn)
    assert drawn == positions(Random(seed), count, rounds=rounds)


@given(seed=st.integers())
def test_clocks_jump_by_days_to_decades(seed: int) -> None:
    assert DAY_S * 0.99 < abs(clock_jump_s(Random(seed))) < 31 * 365 * DAY_S


def test_clocks_jump_both_ways_and_at_all_scales() -> None:
    rng = Random(0)
    jumps = [clock_jump_s(rng) for _ in range(100)]
    assert min(jumps) < -365 * DAY_S < -30 * DAY_S < 0 < 365 * DAY_S < max(jumps)
    assert any(abs(jump) < 10 * DAY_S for jump in jumps)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": -1},
        {"devices": 1},
        {"rounds": 1},
        {"outage_s": 0.0},
        {"seconds": float("nan")},
    ],
    ids=repr,
)
def test_a_plan_that_cannot_be_run_names_its_option(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--" + next(iter(change)).replace("_", "-")):
        ChaosPlan(**change)


def test_scenarios_are_chosen_by_name_in_the_table_s_order() -> None:
    names = [one.name for one in chosen("link-cuts, undisturbed,link-cuts")]
    assert names == [UNDISTURBED, "link-cuts"]
    assert [one.name for one in chosen("all")] == list(SCENARIOS)


def test_an_unknown_scenario_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean server-kill"):
        chosen("undisturbed,sever-kill")
    with pytest.raises(ConfigError, match="--list"):
        chosen("xyz")


def test_every_scenario_but_one_must_strike() -> None:
    idle = [one.name for one in SCENARIOS.values() if not one.strikes]
    assert idle == [UNDISTURBED]
