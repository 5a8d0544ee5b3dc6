"""Joining through a real broker with TLS, by the command people type."""

import asyncio
import io
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from edge_agent.joining.claim import read_claim
from tests.broker.fleet_broker import FleetBroker
from tests.edge_agent.agents import write_examples
from tests.edge_agent.joining.scripted_desk import ScriptedDesk, new_fleet
from tests.scenarios.commands import ROOT
from tools.cli import main
from wire_protocol.certificates import read_certificate
from wire_protocol.link import LinkSettings
from wire_protocol.mqtt import MqttLink

pytestmark = pytest.mark.broker


@asynccontextmanager
async def served(broker: FleetBroker, desk: ScriptedDesk) -> AsyncIterator[None]:
    """Let ``desk`` answer at ``broker``, as the fleet's server."""
    settings = LinkSettings(
        "127.0.0.1", broker.port, identity="desk", tls=broker.fleet.server_tls
    )
    async with MqttLink(settings, fail_fast=True) as link:
        serving = asyncio.create_task(desk.serve(link))
        try:
            yield
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving


def configured(folder: Path) -> Path:
    """Write a device's configuration."""
    write_examples(folder / "e.npz")
    path = folder / "agent.toml"
    path.write_text(
        '[agent]\ndevice = "kitchen"\nstate_dir = "state"\nruntime = "onnxruntime"\n'
        '[security]\nidentity_dir = "identity"\n[data]\nexamples = "e.npz"\n'
    )
    return path


def command(config: Path, *words: str) -> list[str]:
    """Return a command of the agent's."""
    verb, *rest = words
    return [
        *(sys.executable, "-m", "tools.cli", "agent", verb),
        *("--config", str(config), *rest),
    ]


async def run(config: Path, *words: str, token: str = "") -> tuple[int, str, str]:
    """Run a command; return its code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *command(config, *words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    out, error = await process.communicate(token.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), error.decode()


def desk_of(broker: FleetBroker, folder: Path) -> ScriptedDesk:
    """Return who answers for the fleet of ``broker``."""
    fleet = broker.fleet
    return ScriptedDesk(
        folder / "book.json", authority=fleet.authority, signer=fleet.signer
    )


@contextmanager
def agent(config: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run the agent while the block runs."""
    process = subprocess.Popen(
        command(config, "run"), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=30)
        assert "Traceback" not in rest


def until(process: "subprocess.Popen[str]", text: str) -> str:
    """Read what the agent says until a line holds ``text``."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    return pytest.fail(f"the agent ended without saying {text!r}")


def test_a_device_joins_shows_who_it_is_and_is_let_in(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fleet_broker: FleetBroker,
) -> None:
    config, desk = configured(tmp_path), desk_of(fleet_broker, tmp_path)
    token = desk.token(port=fleet_broker.port)
    path = tmp_path / "token"
    path.write_text(token)

    async def joins() -> tuple[int, str, str]:
        async with served(fleet_broker, desk):
            return await run(config, "join", "--token-file", str(path), "--json")

    code, out, error = asyncio.run(joins())
    assert (code, error) == (0, "")
    told = json.loads(out)
    assert (told["fleet"], told["device"]) == ("home", "kitchen")
    assert not path.exists()
    secret = (tmp_path / "identity/device.key").read_text().split("\n")[1]
    for text in (out, error):
        assert secret not in text
        assert token not in text
    assert main(["agent", "identity", "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told
    with agent(config) as process:
        assert "MQTT 5" in until(process, "connected to the broker")


def test_a_token_from_standard_input_that_is_over_is_told_of_in_one_line(
    tmp_path: Path, fleet_broker: FleetBroker
) -> None:
    config, desk = configured(tmp_path), desk_of(fleet_broker, tmp_path)
    desk.book.write_text(json.dumps({"taken_by": "0" * 64}))
    token = desk.token(port=fleet_broker.port)

    async def joins() -> tuple[int, str, str]:
        async with served(fleet_broker, desk):
            return await run(config, "join", token=token)

    code, out, error = asyncio.run(joins())
    assert (code, out) == (3, "")
    assert "its time is over" in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.rglob("claim.*"))


def said(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *words: str,
    token: str,
) -> tuple[int, str]:
    """Run a command in this process; return its code and its one line of an error."""
    monkeypatch.setattr("sys.stdin", io.StringIO(token))
    code = main(["agent", *words])
    out, error = capsys.readouterr()
    assert not out
    assert len(error.splitlines()) == 1
    return code, error


MISTAKES = {
    "no token": ("nonsense", ("join",), 2, "no token"),
    "no file": ("", ("join", "--token-file", "none"), 2, "cannot be read"),
    "no time": ("", ("join", "--timeout", "0"), 2, "above 0"),
    "not a member": ("", ("identity",), 2, "joined no fleet - join with: edgefed"),
    "not one, run": ("", ("run",), 2, "joined no fleet - join with: edgefed"),
}


@pytest.mark.parametrize(
    ("token", "words", "code", "message"), MISTAKES.values(), ids=MISTAKES
)
def test_a_mistake_is_one_line_and_an_exit_code(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    verb, *rest = words
    config = str(configured(tmp_path))
    found = said(capsys, monkeypatch, verb, "--config", config, *rest, token=token)
    assert found[0] == code
    assert message in found[1]


def test_nobody_there_is_told_of_after_the_time(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fleet_broker: FleetBroker,
) -> None:
    config, desk = str(configured(tmp_path)), desk_of(fleet_broker, tmp_path)
    words = ("join", "--config", config, "--timeout", "0.3")
    for port, message in ((fleet_broker.port, "no server"), (1, "no MQTT broker")):
        token = desk.token(port=port)
        code, error = said(capsys, monkeypatch, *words, token=token)
        assert code == 4
        assert message in error
        assert not list(tmp_path.rglob("claim.*"))


WRONG_CLAIMS = {
    "revoked": "this certificate was revoked",
    "of another fleet": "the broker's certificate is not accepted",
}


@pytest.mark.parametrize("wrong", WRONG_CLAIMS)
def test_a_claim_that_the_broker_does_not_take_is_told_of_at_once(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fleet_broker: FleetBroker,
    wrong: str,
) -> None:
    desk = desk_of(fleet_broker, tmp_path)
    if wrong == "revoked":
        claim = read_claim(desk.token()).certificate
        lock_out(fleet_broker, claim.serial)
    else:
        desk.authority = new_fleet(2)
    words = ("join", "--config", str(configured(tmp_path)))
    token = desk.token(port=fleet_broker.port)
    code, error = said(capsys, monkeypatch, *words, token=token)
    assert code == 4
    assert WRONG_CLAIMS[wrong] in error


def test_a_device_that_was_locked_out_says_so_and_waits(
    tmp_path: Path, fleet_broker: FleetBroker
) -> None:
    config, desk = configured(tmp_path), desk_of(fleet_broker, tmp_path)

    async def joins() -> None:
        async with served(fleet_broker, desk):
            token = desk.token(port=fleet_broker.port)
            code, _, error = await run(config, "join", token=token)
            assert code == 0, error

    asyncio.run(joins())
    found = read_certificate((tmp_path / "identity/device.crt").read_bytes())
    lock_out(fleet_broker, found.serial)
    with agent(config) as process:
        line = until(process, "no broker")
        assert "this certificate was revoked" in line
        assert "edgefed agent join --anew" in line
        assert process.poll() is None


def lock_out(broker: FleetBroker, serial: str) -> None:
    """Put a certificate on the broker's list, and let it start again."""
    (broker.fleet.path / "gone" / serial).write_bytes(b"")
    broker.fleet.write_revoked()
    broker.kill()
    broker.start()
