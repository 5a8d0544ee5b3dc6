"""The commands as processes: how they start, what they weigh, how they end."""

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.edge_agent.agents import write_examples
from tools.bench_agent import keeping_bytecode

ROOT = Path(__file__).parents[2]
EDGEFED = [sys.executable, "-m", "tools.cli"]
FOREIGN = (
    "cryptography",
    *("tensorflow", "torch", "keras", "onnx", "jax", "cryptography"),
    *("broker_server", "model_zoo", "tools"),
    *("onnxruntime", "ai_edge_litert", "tflite_runtime", "numpy.random"),
)


def configured(folder: Path, *, port: int = 1, runtime: str = "onnxruntime") -> Path:
    write_examples(folder / "e.npz")
    path = folder / "agent.toml"
    path.write_text(
        f'[agent]\ndevice = "cli"\nfleet = "cli-test"\nstate_dir = "state"\n'
        f'runtime = "{runtime}"\n[broker]\nport = {port}\n'
        '[data]\nexamples = "e.npz"\n'
    )
    return path


def start_agent(config: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*EDGEFED, "agent", "run", "--config", str(config)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_line(process: "subprocess.Popen[str]", text: str) -> None:
    """Read the log until a line holds ``text``; pytest's timeout bounds it."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"the agent ended without saying {text!r}")


def test_importing_the_agent_is_quick_and_brings_no_framework(tmp_path: Path) -> None:
    # bytecode is there, as behind every installation
    environ = keeping_bytecode(str(tmp_path))

    def import_s(module: str) -> float:
        """Return processor time, the best of four: a busy clock says nothing of us."""
        code = (
            f"import sys, {module}; print([n for n in {FOREIGN!r} if n in sys.modules])"
        )
        times_s = []
        for _ in range(4):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(
                [sys.executable, "-c", code],
                cwd=ROOT,
                env=environ,
                capture_output=True,
                check=True,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert done.stdout == b"[]\n"
            times_s.append(after.ru_utime - before.ru_utime)
        return min(times_s)

    # half a second; on a machine that is slow just now, in numpy's own time
    assert import_s("edge_agent.service") < max(0.5, 2.5 * import_s("numpy"))


ENDINGS = [(signal.SIGTERM, 0), (signal.SIGINT, 130)]


@pytest.mark.broker
@pytest.mark.parametrize(("number", "code"), ENDINGS, ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_a_connected_agent_in_order(
    tmp_path: Path, broker_port: int, number: int, code: int
) -> None:
    process = start_agent(configured(tmp_path, port=broker_port))
    until_line(process, "connected to the broker")
    process.send_signal(number)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in rest


@pytest.mark.broker
def test_an_agent_without_a_broker_says_so_and_waits(tmp_path: Path) -> None:
    process = start_agent(configured(tmp_path))
    until_line(process, "no MQTT broker answers on 127.0.0.1:1")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in rest


@pytest.mark.broker
def test_a_state_folder_serves_one_agent(tmp_path: Path, broker_port: int) -> None:
    config = configured(tmp_path, port=broker_port)
    first = start_agent(config)
    until_line(first, "connected to the broker")
    second = start_agent(config)
    _, said = second.communicate(timeout=30)
    assert second.returncode == 3
    assert "another agent is using" in said
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=30)
    third = start_agent(config)  # the folder is free again
    until_line(third, "connected to the broker")
    third.send_signal(signal.SIGTERM)
    third.communicate(timeout=30)


@pytest.mark.broker
def test_two_agents_of_one_name_are_told_of_each_other(
    tmp_path: Path, broker_port: int
) -> None:
    config = configured(tmp_path, port=broker_port)
    rival = tmp_path / "rival.toml"
    rival.write_text(config.read_text().replace('"state"', '"rival"'))
    agents = [start_agent(config), start_agent(rival)]
    until_line(agents[0], "is another agent running as 'cli'?")
    for agent in agents:
        agent.send_signal(signal.SIGTERM)
    for agent in agents:
        agent.communicate(timeout=30)


def no_runtime(folder: Path) -> Path:
    return configured(folder, runtime="tflite-runtime")


def no_examples(folder: Path) -> Path:
    path = configured(folder)
    (folder / "e.npz").unlink()
    return path


def wrong_key(folder: Path) -> Path:
    path = configured(folder)
    path.write_text(path.read_text().replace("port", "prot"))
    return path


def far_broker(folder: Path) -> Path:
    path = configured(folder)
    path.write_text(path.read_text().replace("[broker]", '[broker]\nhost = "10.0.0.1"'))
    return path


@pytest.mark.parametrize(
    ("setup", "code", "message"),
    [
        (lambda folder: folder / "none.toml", 2, "copy firmware_configs/examples"),
        (wrong_key, 2, "did you mean 'port'?"),
        (no_examples, 2, "correct [data] examples"),
        (far_broker, 3, "edgefed agent join"),
        (no_runtime, 5, "pip install tflite-runtime"),
    ],
    ids=["no file", "unknown key", "no examples", "far broker", "no runtime"],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    tmp_path: Path, setup: Callable[[Path], Path], code: int, message: str
) -> None:
    done = subprocess.run(
        [*EDGEFED, "agent", "run", "--config", str(setup(tmp_path))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_probe_tells_what_works() -> None:
    done = subprocess.run(
        [*EDGEFED, "agent", "probe", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {entry["runtime"]: entry for entry in json.loads(done.stdout)}
    assert list(found) == ["litert", "onnxruntime", "tflite-runtime"]
    assert found["litert"]["works"]
    assert found["onnxruntime"]["works"]
    assert found["litert"]["version"]
