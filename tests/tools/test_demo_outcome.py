"""What a demo found out: its figures, its JSON, its page."""

import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from rich.console import Console

from model_zoo.metrics import METRICS
from tests.tools.examples import OUTCOME, round_outcome
from tools.demo.display import LiveDisplay, PlainDisplay, sparkline, summary
from tools.demo.fleet_state import DeviceState, FleetState, ServerState
from tools.demo.outcome import Baselines, DemoOutcome, rounds_to
from tools.demo.report import report

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs/demo.schema.json").read_text(encoding="utf-8")
)
ALONE = replace(OUTCOME, baselines=None)
ERRORS = replace(
    OUTCOME,
    metric=METRICS["regression"],
    rounds=(round_outcome(1, 7.5), round_outcome(2, 2.5)),
    baselines=Baselines(central=2.25, local=(9.5, 4.5)),
)


def test_bits_are_spread_over_parameters_devices_and_rounds() -> None:
    # 2 rounds of 2 devices: 4 parts of 10,000 parameters
    assert OUTCOME.uplink_bits_per_param == pytest.approx(8 * 4_000 / 40_000)
    assert OUTCOME.downlink_bits_per_param == pytest.approx(8 * 16_000 / 40_000)
    assert OUTCOME.sent_bits_per_param == pytest.approx(8 * 8_000 / 40_000)
    assert OUTCOME.received_bits_per_param == pytest.approx(8 * 80_000 / 40_000)


@pytest.mark.parametrize("outcome", [OUTCOME, ALONE], ids=["compared", "not compared"])
def test_the_json_is_what_its_schema_says(outcome: DemoOutcome) -> None:
    plain = json.loads(json.dumps(outcome.to_json()))
    jsonschema.validate(plain, SCHEMA)
    assert plain["quality"] == 0.9
    assert plain["overhead_seconds_median"] == pytest.approx(0.075)


def test_the_schema_describes_every_key_of_the_json() -> None:
    assert set(OUTCOME.to_json()) == set(SCHEMA["properties"])
    for table in ("rounds", "devices"):
        rows = OUTCOME.to_json()[table]
        assert isinstance(rows, list)
        assert set(rows[0]) == set(SCHEMA["properties"][table]["items"]["properties"])


def test_rounds_to_a_target_count_from_one() -> None:
    rounds = [round_outcome(1, 0.5), round_outcome(2, 0.8), round_outcome(3, 0.7)]
    accuracy = METRICS["classification"]
    assert rounds_to(0.8, rounds, metric=accuracy) == 2
    assert rounds_to(0.81, rounds, metric=accuracy) is None
    error = METRICS["regression"]
    assert rounds_to(0.7, rounds, metric=error) == 1
    assert rounds_to(0.4, rounds, metric=error) is None


@pytest.mark.parametrize("outcome", [OUTCOME, ALONE], ids=["compared", "not compared"])
def test_the_page_shows_figures_and_pictures_and_is_escaped(
    outcome: DemoOutcome,
) -> None:
    page = report(outcome)
    assert "0.900" in page
    assert "device-&lt;02&gt;" in page
    assert "device-<02>" not in page
    assert "http" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("https://matplotlib.org", "").replace("http://creativecommons.org", "")
    pictures = page.split("<svg")[1:]
    assert len(pictures) == (3 if outcome.baselines else 2)
    for picture in pictures:
        ET.fromstring("<svg" + picture[: picture.index("</svg>")] + "</svg>")


def test_the_same_outcome_gives_the_same_figures_in_the_summary() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(summary(OUTCOME))
    text = console.export_text()
    for figure in ("0.900", "0.950", "0.500", "0.80 (40x under f32)"):
        assert figure in text


def test_a_log_has_a_line_a_round() -> None:
    lines: list[str] = []
    display = PlainDisplay(lines.append)
    display.begin()
    display.say("starting 2 devices")
    display.show(FleetState())
    display.judged(round_outcome(7, 0.75))
    display.end()
    assert len(lines) == 2
    assert "round   7  accuracy 0.750" in lines[1]
    assert "overhead 350 ms" in lines[1]


def test_the_live_picture_names_devices_phase_round_quality_and_ratio() -> None:
    console = Console(
        width=120, height=40, record=True, file=io.StringIO(), force_terminal=True
    )
    display = LiveDisplay(
        OUTCOME.plan, console, parameters=10_000, metric=METRICS["reconstruction"]
    )
    display.begin()
    display.show(
        FleetState(
            ServerState("collecting", 2, 1, ("device-01", "device-02"), ("device-01",)),
            {"device-01": DeviceState(online=True, phase="training", round=2)},
        )
    )
    display.judged(round_outcome(1, 0.7))
    display.say("working")
    display.end()
    text = console.export_text()
    for words in (
        "round 2 of 2",
        "collecting 1/2",
        "ROC AUC 0.700",
        "training",
        "less than",
    ):
        assert words in text


def test_a_sparkline_rises_with_its_values() -> None:
    line = sparkline([0.0, 0.25, 0.5, 0.75, 1.0])
    assert sorted(line) == list(line)
    assert len(set(line)) == 5


def test_a_sparkline_without_a_greatest_value_is_drawn_to_the_greatest_there_is() -> (
    None
):
    assert sparkline([8.0, 4.0], most=None) == sparkline([1.0, 0.5])
    assert sparkline([0.0], most=None) == sparkline([0.0])


def test_errors_are_shown_as_errors_and_may_be_above_one() -> None:
    jsonschema.validate(json.loads(json.dumps(ERRORS.to_json())), SCHEMA)
    assert ERRORS.to_json()["better"] == "lower"
    page = report(ERRORS)
    ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    assert "mean absolute error, federated" in page
    assert "accuracy" not in page
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(summary(ERRORS))
    assert "mean absolute error, trained centrally" in console.export_text()
