"""Plans: presets, options, and what is refused."""

from dataclasses import replace

import pytest

from tests.tools.examples import PLAN
from tools.demo.plan import PRESETS, chosen
from wire_protocol.errors import ConfigError

REFUSED = {
    "no rounds": ({"rounds": 0}, "--rounds"),
    "no devices": ({"devices": 0}, "--devices"),
    "no fraction": ({"fraction": 0.0}, "--fraction"),
    "more than all": ({"fraction": 1.5}, "--fraction"),
    "backwards": ({"learning_rate": -0.1}, "--learning-rate"),
    "no codec": ({"codec": "zip"}, "--codec"),
    "no downlink codec": ({"downlink": "uq:x"}, "--codec"),
    "negative seed": ({"seed": -1}, "--seed"),
    "not a number": ({"alpha": float("nan")}, "--alpha"),
}


@pytest.mark.parametrize(("change", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_a_plan_that_cannot_be_run_names_its_option(
    change: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        replace(PLAN, **change)  # type: ignore[arg-type]


def test_the_seed_preset_is_the_textbook_case() -> None:
    plan = chosen(PLAN, preset="seed", options={})
    assert (plan.devices, plan.fraction, plan.epochs) == (10, 0.5, 10)
    assert (plan.learning_rate, plan.rounds) == (0.01, 100)
    assert plan.patience > 0


def test_an_option_wins_over_the_preset_and_none_is_no_option() -> None:
    plan = chosen(PLAN, preset="seed", options={"rounds": 7, "devices": None})
    assert (plan.rounds, plan.devices) == (7, 10)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_preset_is_a_plan(preset: str) -> None:
    chosen(PLAN, preset=preset, options={})  # type: ignore[arg-type]
