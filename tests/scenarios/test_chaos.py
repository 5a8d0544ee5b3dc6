"""Chaos as a user runs it: real processes are killed, and every update counts once."""

import json
import signal
import subprocess
from pathlib import Path

import jsonschema
import pytest

from tests.scenarios.commands import ROOT, begin, edgefed, processes_naming
from tools.chaos.scenarios import SCENARIOS
from wire_protocol.errors import INTERRUPTED

SCHEMA = json.loads((ROOT / "docs/chaos.schema.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.broker
def test_a_federation_whose_server_agents_and_broker_are_killed_loses_nothing(
    tmp_path: Path,
) -> None:
    done = edgefed(
        *("chaos", "--scenario", "quick", "--devices", "2", "--json", "-"),
        *("--folder", str(tmp_path / "run")),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    jsonschema.validate(figures, SCHEMA)
    undisturbed, quick = figures["scenarios"]
    assert undisturbed["fault_counts"] == {}
    assert quick["fault_counts"] == {"kill": 6}
    killed = [fault["target"] for fault in quick["faults"]]
    assert {"server", "broker"} < set(killed)
    assert quick["rounds"] == 6
    assert quick["ledger"]["lost"] == quick["ledger"]["twice"] == []
    assert quick["ledger"]["witnessed"] > 0
    assert not (tmp_path / "run").exists()  # what passed is not kept
    assert processes_naming(str(tmp_path)) == []


@pytest.mark.slow
@pytest.mark.broker
def test_stopped_chaos_leaves_no_process_and_keeps_its_logs(tmp_path: Path) -> None:
    with begin(
        *("chaos", "--scenario", "quick", "--devices", "2", "--rounds", "3"),
        *("--folder", str(tmp_path / "run")),
        cwd=tmp_path,
    ) as chaos:
        _await_fault(chaos)
        chaos.send_signal(signal.SIGINT)
        assert chaos.wait(30) == INTERRUPTED
    assert processes_naming(str(tmp_path)) == []
    assert (tmp_path / "run/quick/logs/server.1.log").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--scenario"),
        (("--scenario", "sever-kill"), "did you mean server-kill?"),
        (("--scenario", "all", "--devices", "1"), "--devices must be 2 to 50"),
        (("--scenario", "all", "--json", "/nowhere/x.json"), "cannot be written"),
    ],
    ids=["no scenario", "unknown scenario", "too few devices", "no place for figures"],
)
def test_what_cannot_be_meant_is_refused_with_a_remedy(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = edgefed("chaos", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_list_names_every_scenario_in_a_line(tmp_path: Path) -> None:
    done = edgefed("chaos", "--list", cwd=tmp_path)
    assert done.returncode == 0
    for name in ("undisturbed", "server-kill", "link-cuts", "everything"):
        assert any(line.startswith(f"{name} ") for line in done.stdout.splitlines())


@pytest.mark.slow
def test_a_killed_chaos_takes_its_processes_with_it(tmp_path: Path) -> None:
    if problem := SCENARIOS["everything"].why_not():
        pytest.skip(problem)
    with begin(
        *("chaos", "--scenario", "everything", "--devices", "2", "--rounds", "3"),
        *("--folder", str(tmp_path / "run")),
        cwd=tmp_path,
    ) as chaos:
        _await_fault(chaos)
        children = processes_naming(str(tmp_path / "run"))
        chaos.kill()
    assert len(children) >= 4  # broker, server or agents, two keepers of disks
    subprocess.run(
        ["tail", *(f"--pid={child}" for child in children), "-f", "/dev/null"],
        check=True,
        timeout=30,
    )


def _await_fault(chaos: "subprocess.Popen[str]") -> None:
    """Read what it says until it says when a fault struck."""
    assert chaos.stdout is not None
    for line in chaos.stdout:
        if line.startswith("  ") and " s  " in line:
            return
    pytest.fail(f"nothing struck, exit code {chaos.wait(5)}")
