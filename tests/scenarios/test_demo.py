"""The demo as a user runs it: real processes, both runtimes, nothing left behind."""

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from tests.model_zoo.test_data_catalog import environ_with
from tests.scenarios.commands import ROOT, begin, edgefed, processes_naming
from tools.demo.cli import STOPPED
from wire_protocol.errors import INTERRUPTED

SCHEMA = json.loads((ROOT / "docs/demo.schema.json").read_text(encoding="utf-8"))


def test_the_demo_learns_on_both_runtimes_and_writes_what_it_found(
    tmp_path: Path,
) -> None:
    done = edgefed(
        *("demo", "--devices", "4", "--rounds", "6", "--seed", "3"),
        *("--folder", str(tmp_path / "run"), "--json", str(tmp_path / "out.json")),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    jsonschema.validate(figures, SCHEMA)
    assert [entry["round"] for entry in figures["rounds"]] == [1, 2, 3, 4, 5, 6]
    for entry in figures["rounds"]:
        assert len(entry["participants"]) == 4
        families = {runtime.split()[0] for runtime in entry["runtimes"]}
        assert families == {"litert", "onnxruntime"}
        assert entry["refused"] == {}
    assert figures["quality"] > figures["rounds"][0]["quality"]
    assert figures["alpha"] == 0.3  # what was used, though nobody asked for it
    assert figures["quality"] > figures["local_quality_mean"] + 0.1
    assert 0.5 < figures["uplink_bits_per_param"] < 1.6
    exported = edgefed(
        *("server", "export", "--config", str(tmp_path / "run/server.toml")),
        *("--out", str(tmp_path / "model.npz")),
        cwd=tmp_path,
    )
    assert exported.returncode == 0, exported.stderr
    with np.load(tmp_path / "model.npz", allow_pickle=False) as tensors:
        assert sum(tensors[name].size for name in tensors) == figures["parameters"]
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert f"{figures['quality']:.3f}" in page
    assert processes_naming(str(tmp_path)) == []


@pytest.mark.slow
def test_amqtt_serves_where_mosquitto_is_missing_and_says_what_it_is(
    tmp_path: Path,
) -> None:
    done = edgefed(
        *("demo", "--devices", "2", "--rounds", "2", "--broker", "amqtt"),
        *("--no-compare", "--folder", str(tmp_path / "run")),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "development only" in done.stdout
    assert "round   2" in done.stdout
    assert processes_naming(str(tmp_path)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, STOPPED)],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_stopped_demo_leaves_no_process(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with _running(tmp_path) as demo:
        demo.send_signal(number)
        assert demo.wait(30) == code
    assert processes_naming(str(tmp_path)) == []


@pytest.mark.slow
def test_a_killed_demo_takes_its_processes_with_it(tmp_path: Path) -> None:
    with _running(tmp_path) as demo:
        children = processes_naming(str(tmp_path / "run"))
        demo.kill()
    assert len(children) >= 4  # broker, server, two agents
    subprocess.run(
        ["tail", *(f"--pid={child}" for child in children), "-f", "/dev/null"],
        check=True,
        timeout=30,
    )


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a long demo, from its first merged round."""
    with begin(
        *("demo", "--devices", "2", "--rounds", "5000", "--no-compare"),
        *("--folder", str(folder / "run")),
        cwd=folder,
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("round   1"):
                yield demo
                return
        pytest.fail(f"no round was merged, exit code {demo.wait(5)}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "metric", "options"),
    [
        ("skab", "ROC AUC", ["--rounds", "2"]),
        # there is much of it: nothing is trained for comparison
        ("citylearn-homes", "mean absolute error", ["--rounds", "1", "--no-compare"]),
    ],
)
def test_every_task_is_shown_by_its_own_metric(
    tmp_path: Path, data: str, metric: str, options: list[str]
) -> None:
    environ = environ_with(data.replace("-", "_"))
    done = edgefed(
        *("demo", "--data", data, "--unseen", "--devices", "2", *options),
        *("--epochs", "1", "--folder", str(tmp_path / "run")),
        *("--json", str(tmp_path / "out.json")),
        cwd=tmp_path,
        environ=environ,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    jsonschema.validate(figures, SCHEMA)
    assert figures["metric"] == metric
    assert (figures["central_quality"] is None) is ("--no-compare" in options)
    assert f"round   {options[1]}  {metric} {figures['quality']:.3f}" in done.stdout
    assert metric in (tmp_path / "run/report.html").read_text(encoding="utf-8")
