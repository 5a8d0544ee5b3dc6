"""What a user gets wrong: one line with cause and remedy, and its exit code."""

import json
import socket
from pathlib import Path

import numpy as np
import pytest

from tests.scenarios.commands import edgefed

AGENT = """
[agent]
device = "pi"
state_dir = "state"
[data]
examples = "examples.npz"
"""
SERVER = """
[server]
state_dir = "state"
[model]
artifact = "digits-mlp"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    x = np.zeros((20, 64), np.float32)
    np.savez(tmp_path / "examples.npz", x=x, y=np.arange(20, dtype=np.int32) % 10)
    (tmp_path / "agent.toml").write_text(AGENT)
    (tmp_path / "server.toml").write_text(SERVER)
    return tmp_path


WRONG: dict[str, tuple[str, str, int, tuple[str, ...]]] = {
    "unknown key": ("server", "[round]\nround = 3", 2, ("round", "rounds")),
    "unknown section": ("server", "[rounds]\nrounds = 3", 2, ("rounds", "round")),
    "wrong type": ("server", '[round]\nrounds = "many"', 2, ("rounds", "many")),
    "out of range": ("server", "[round]\nfraction = 2.0", 2, ("fraction",)),
    "no TOML": ("server", "[round", 2, ("server.toml",)),
    "unknown codec": ("server", '[codec]\nuplink = "zip"', 2, ("zip", "uq")),
    "agent: unknown key": ("agent", "[broker]\nprot = 1", 2, ("prot", "port")),
    "agent: another machine": (
        "agent",
        '[broker]\nhost = "192.168.1.5"',
        3,
        ("192.168.1.5",),
    ),
    "server: another machine": (
        "server",
        '[broker]\nhost = "10.0.0.1"',
        3,
        ("10.0.0.1",),
    ),
    "no broker": ("server", '[broker]\nhost = "127.0.0.1"\nport = 1', 4, (":1",)),
    "no such runtime here": (
        "agent",
        "",
        5,
        ("tflite-runtime", "pip install"),
    ),
}


@pytest.mark.parametrize(
    ("side", "added", "code", "words"), WRONG.values(), ids=WRONG.keys()
)
def test_one_line_says_what_is_wrong(
    folder: Path, side: str, added: str, code: int, words: tuple[str, ...]
) -> None:
    config = folder / f"{side}.toml"
    text = config.read_text() + added
    if not added:
        text = text.replace("[data]", 'runtime = "tflite-runtime"\n[data]')
    config.write_text(text)
    done = edgefed(side, "run", "--config", str(config), cwd=folder)
    assert done.returncode == code, done.stderr
    _assert_one_line(done.stderr, words)


def test_a_missing_configuration_is_named(folder: Path) -> None:
    done = edgefed("agent", "run", "--config", "absent.toml", cwd=folder)
    assert done.returncode == 2
    _assert_one_line(done.stderr, ("absent.toml", "agent.toml"))


def test_missing_examples_are_named(folder: Path) -> None:
    (folder / "examples.npz").unlink()
    done = edgefed("agent", "run", "--config", "agent.toml", cwd=folder)
    assert done.returncode == 2
    _assert_one_line(done.stderr, ("examples.npz", "[data]"))


def test_a_busy_port_is_named(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        (folder / "server.toml").write_text(SERVER + f"[broker]\nport = {port}\n")
        done = edgefed("server", "run", "--config", "server.toml", cwd=folder)
    assert done.returncode == 3
    _assert_one_line(done.stderr, (str(port), "port"))


COMMANDS: dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]] = {
    "wrong model for the data": (
        ("demo", "--model", "har-cnn1d"),
        2,
        ("wrong model", "digits-mlp"),
    ),
    "unknown data": (("demo", "--data", "digitz"), 2, ("digitz", "digits")),
    "unknown model": (("demo", "--model", "digits-mpl"), 2, ("digits-mlp",)),
    "missing data": (
        ("demo", "--data", "sp-sw-har"),
        2,
        ("sp-sw-har", "EDGEFED_DATA"),
    ),
    "a folder that exists": (("demo", "--folder", "."), 2, ("--folder",)),
    "JSON to nowhere": (("demo", "--json", "no/such/out.json"), 2, ("out.json",)),
    "no number": (("demo", "--rounds", "two"), 2, ("--rounds", "edgefed demo -h")),
    "no such preset": (("demo", "--preset", "sed"), 2, ("--preset", "seed")),
    "no command": ((), 2, ("COMMAND", "edgefed -h")),
    "no such command": (("frob",), 2, ("frob", "demo")),
    "no leaf command": (("server",), 2, ("COMMAND", "edgefed server -h")),
    "unknown artifact": (("zoo", "verify", "digit-mlp"), 2, ("digits-mlp",)),
}


@pytest.mark.parametrize(("command", "code", "words"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_that_cannot_be_meant_says_why(
    folder: Path, command: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    done = edgefed(*command, cwd=folder, environ={"EDGEFED_DATA": str(folder)})
    assert done.returncode == code, done.stderr
    _assert_one_line(done.stderr, words)


def test_a_probe_is_for_machines_too(folder: Path) -> None:
    done = edgefed("agent", "probe", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "litert" in json.dumps(json.loads(done.stdout))


def _assert_one_line(text: str, words: tuple[str, ...]) -> None:
    lines = [line for line in text.strip().splitlines() if line.startswith("edgefed: ")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    assert " - " in lines[0], "a remedy follows the dash"
    for word in words:
        assert word in lines[0]
