"""Chaos reported: the table, the lines while it runs, and the JSON."""

import io
import json
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from tools.chaos.display import LiveChaosDisplay, PlainChaosDisplay, report
from tools.chaos.ledger import Entry, balance
from tools.chaos.outcome import Carried, ChaosOutcome, Fault, ScenarioOutcome
from tools.chaos.plan import ChaosPlan
from tools.demo.fleet_state import DeviceState, FleetState, ServerState

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs/chaos.schema.json").read_text(encoding="utf-8")
)
KILLED = ScenarioOutcome(
    name="server-kill",
    verdict="failed",
    problems=("1 accepted, but lost: a's x in round 1",),
    faults=(
        Fault(1.25, "kill", "server", "round 1, collecting"),
        Fault(7.5, "kill", "server", "round 2, merging"),
    ),
    rounds=6,
    failed_rounds=2,
    seconds=9.4,
    accuracy=0.912,
    reference=0.953,
    ledger=balance([Entry(1, "b", "y", 1)], {(1, "a", "x")}, versions=[1]),
    refused=(("stale", 3),),
    folder="runs/x/server-kill",
)
CUT = ScenarioOutcome(
    name="link-cuts",
    verdict="passed",
    carried=Carried(
        connections=34,
        cuts=30,
        lost=0,
        doubled=0,
        device_bytes_up=111_769,
        device_bytes_down=20_770_113,
        artifact_bytes=20_000_040,
    ),
    rounds=6,
    seconds=46.8,
)
SKIPPED = ScenarioOutcome("clock-1970", "skipped", ("libfaketime is not installed",))
OUTCOME = ChaosOutcome(ChaosPlan(), (KILLED, CUT, SKIPPED))


def _text(width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(report(OUTCOME))
    return console.export_text()


def test_the_json_is_what_its_schema_says() -> None:
    plain = json.loads(json.dumps(OUTCOME.to_json()))
    jsonschema.validate(plain, SCHEMA)
    assert plain["passed"] is False
    assert plain["scenarios"][0]["fault_counts"] == {"kill": 2}
    assert plain["scenarios"][1]["fault_counts"] == {"cuts": 30}


def test_the_schema_describes_every_key() -> None:
    plain = OUTCOME.to_json()
    assert set(plain) == set(SCHEMA["properties"])
    described = SCHEMA["properties"]["scenarios"]["items"]["properties"]
    assert set(KILLED.to_json()) == set(described)


def test_what_was_skipped_neither_fails_nor_passes() -> None:
    assert ChaosOutcome(ChaosPlan(), (CUT, SKIPPED)).passed
    assert "passed" not in _text(80).partition("clock-1970")[2].partition("\n")[0]


def test_the_report_fits_eighty_columns_and_says_why_and_where_to_look() -> None:
    text = _text(80)
    for words in (
        *("server-kill", "2 kill", "1 to 8 s", "6", "+2 failed", "0.912", "of 0.953"),
        *("1 of 1 merged", "1 lost, 0 twice", "failed"),
        "accepted, but lost: a's x in round 1",
        "logs: runs/x/server-kill/logs",
        *("30 cuts", "20.8 MB", "20.0 MB"),
        *("skipped", "libfaketime is not installed"),
    ):
        assert words in text
    assert "…" not in text


def test_a_log_has_a_line_for_each_fault_and_verdict() -> None:
    lines: list[str] = []
    display = PlainChaosDisplay(lines.append)
    display.begin()
    display.scenario("server-kill", rounds=6)
    display.fleet(FleetState())
    display.fault(KILLED.faults[0])
    display.judged(KILLED)
    display.end()
    assert lines == [
        "server-kill: 6 rounds",
        "     1.2 s  kill server (round 1, collecting)",
        "server-kill: failed after 9.4 s",
        "    1 accepted, but lost: a's x in round 1",
    ]


@pytest.mark.parametrize("before", [(), (CUT,)], ids=["first", "second"])
def test_the_live_picture_shows_scenario_version_phases_and_the_last_faults(
    before: tuple[ScenarioOutcome, ...],
) -> None:
    console = Console(width=100, height=40, record=True, file=io.StringIO())
    display = LiveChaosDisplay(console)
    for outcome in before:
        display.judged(outcome)
    display.scenario("server-kill", rounds=6)
    display.fleet(
        FleetState(
            ServerState("collecting", 3, 2, ("a", "b"), ("a",)),
            {"a": DeviceState(phase="idle"), "b": DeviceState(phase="training")},
        )
    )
    display.fault(KILLED.faults[1])
    console.print(display.picture())
    text = console.export_text()
    for words in (
        *("server-kill", "version 2 of 6", "round 3, collecting 1/2", "1 faults"),
        *("b training", "kill server (round 2, merging)"),
        *(outcome.name for outcome in before),
    ):
        assert words in text
