"""``edgefed server`` as a process: a real broker, a real end."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker_server.artifact import load_artifact
from broker_server.config import load_config
from broker_server.model_line import ModelLine
from broker_server.reputation import Reputation
from broker_server.store import Store
from tests.broker.broker_fixtures import free_port
from tests.broker_server.scripted_device import ScriptedDevice, update_of
from tests.broker_server.small_server import (
    BLOCK_BYTES,
    FLEET,
    step_of,
    write_artifact,
)
from tests.broker_server.test_backup import write_state
from tools.cli import main
from wire_protocol.link import LinkSettings
from wire_protocol.messages import CheckIn
from wire_protocol.mqtt import MqttLink

REPOSITORY = Path(__file__).parents[2]


def write_config(folder: Path, *, port: int, rounds: int, host: str = "") -> Path:
    path = folder / "server.toml"
    artifact = write_artifact(folder / "tiny")
    path.write_text(
        f"""
        [server]
        state_dir = "state"
        fleet = "{FLEET}"
        block_bytes = {BLOCK_BYTES}
        [broker]
        port = {port}
        {f'host = "{host}"' if host else ""}
        [model]
        artifact = "{artifact}"
        [round]
        rounds = {rounds}
        """
    )
    return path


@contextlib.asynccontextmanager
async def server(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tools.cli", "server", "run", "--config", str(config)),
        cwd=REPOSITORY,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(process: asyncio.subprocess.Process, text: str) -> None:
    """Wait until the server's log has ``text``."""
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while text not in (line := (await process.stderr.readline()).decode()):
            assert line, f"the server ended without saying {text!r}"


@pytest.mark.broker
def test_a_server_with_its_own_broker_runs_rounds_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    config = write_config(tmp_path, port=port, rounds=2)

    async def rehearse() -> None:
        async with server(config) as process:
            await said(process, "connected")
            settings = LinkSettings("127.0.0.1", port, identity="a")
            async with MqttLink(settings) as link:
                device = ScriptedDevice("a", link, fleet=FLEET, block_bytes=BLOCK_BYTES)
                await device.join()
                for number in (1, 2):
                    offer = await device.offer(number)
                    await device.follow(offer)
                    await device.send(update_of(offer), step_of(offer))
                    assert (await device.receipt()).reason == "accepted"
                await said(process, "round 2 merged")
                async with asyncio.timeout(10):
                    assert await process.wait() == 0

    asyncio.run(rehearse())
    with socket.socket() as again:  # the broker let go of its port
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))

    assert main(["server", "rounds", "--config", str(config), "--json"]) == 0
    rounds = json.loads(capsys.readouterr().out)
    assert [record["outcome"] for record in rounds] == ["merged", "merged"]
    assert rounds[0]["runtimes"] == ["scripted 1"]
    assert main(["server", "rounds", "--config", str(config)]) == 0
    assert "0.7500" in capsys.readouterr().out


@pytest.mark.broker
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_a_signal_ends_the_server_in_order(
    tmp_path: Path, broker_port: int, number: int, code: int
) -> None:
    config = write_config(tmp_path, port=broker_port, rounds=0, host="127.0.0.1")

    async def rehearse() -> None:
        async with server(config) as process:
            await said(process, "connected")
            os.kill(process.pid, number)
            async with asyncio.timeout(10):
                assert await process.wait() == code

    asyncio.run(rehearse())


@pytest.mark.broker
def test_a_state_folder_that_breaks_ends_the_server_with_one_line(
    tmp_path: Path, broker_port: int
) -> None:
    config = write_config(tmp_path, port=broker_port, rounds=0, host="127.0.0.1")

    async def rehearse() -> None:
        settings = LinkSettings("127.0.0.1", broker_port, identity="b")
        async with server(config) as process, MqttLink(settings) as link:
            device = ScriptedDevice("b", link, fleet=FLEET, block_bytes=BLOCK_BYTES)
            await device.join()
            offer = await device.offer(1)
            shutil.rmtree(tmp_path / "state" / "blobs")
            await device.send(update_of(offer), step_of(offer))
            await said(process, "edgefed: ")
            async with asyncio.timeout(10):
                assert await process.wait() == 3

    asyncio.run(rehearse())


def test_expected_failures_are_one_line_and_a_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, port=free_port(), rounds=1, host="127.0.0.1")
    assert main(["server", "rounds", "--config", str(config)]) == 2
    assert main(["server", "run", "--config", str(config)]) == 4  # nobody listens
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        config = write_config(tmp_path, port=holder.getsockname()[1], rounds=1)
        assert main(["server", "run", "--config", str(config)]) == 3
    assert main(["server", "run", "--config", str(tmp_path / "none.toml")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("edgefed: ") for line in lines) == 4


@pytest.mark.parametrize(("version", "code"), [("-1", 2), ("1", 3)])
def test_an_export_of_no_version_says_which_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str, code: int
) -> None:
    path = write_config(tmp_path, port=1, rounds=1)
    config = load_config(path)
    out = tmp_path / "model.npz"
    command = ["server", "export", "--config", str(path), "--out", str(out)]
    with Store.open(config.server.state_dir) as store:
        assert main(command) == 2  # the server was killed before its first version
        ModelLine(config, load_artifact(tmp_path / "tiny"), store)
    capsys.readouterr()
    assert main([*command, "--version", version]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert version in line
    assert line.endswith("the store has 0")
    assert not out.exists()
    assert main(command) == 0
    assert out.exists()


def test_the_ledger_shows_what_became_of_every_update(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, port=1, rounds=1)
    write_state(load_config(path).server.state_dir)
    assert main(["server", "ledger", "--config", str(path)]) == 0
    *_, total = capsys.readouterr().out.splitlines()
    assert total == "2 accepted = 1 merged + 1 pending + 0 given up"
    assert main(["server", "ledger", "--config", str(path), "--json"]) == 0
    ledger = json.loads(capsys.readouterr().out)
    assert (ledger["accepted"], ledger["pending"]) == (2, 1)
    assert [one["state"] for one in ledger["updates"]] == ["merged", "pending"]


def test_a_backup_is_written_and_restored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, port=1, rounds=1)
    state = load_config(path).server.state_dir
    write_state(state)
    out = str(tmp_path / "out.tar")
    assert main(["server", "backup", "--config", str(path), "--out", out]) == 0
    assert main(["server", "restore", "--config", str(path), "--from", out]) == 3
    assert "not empty" in capsys.readouterr().err
    shutil.rmtree(state)
    assert main(["server", "restore", "--config", str(path), "--from", out]) == 0
    assert main(["server", "ledger", "--config", str(path)]) == 0


def test_a_failed_round_is_shown_with_its_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, port=1, rounds=1)
    config = load_config(path)
    with Store.open(config.server.state_dir) as store:
        ModelLine(config, load_artifact(tmp_path / "tiny"), store)
        store.open_round(1, version=0, cohort=("a",), started=1.0)
        store.commit_failure(1, cause="too few", ended=2.0, seconds=1.0, refused={})
    assert main(["server", "rounds", "--config", str(path)]) == 0
    assert "too few" in capsys.readouterr().out
    assert main(["server", "rounds", "--config", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["cause"] == "too few"


def test_devices_are_shown_with_their_conduct(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, port=1883, rounds=1)
    with Store.open(load_config(config).server.state_dir) as store:
        check_in = CheckIn(1, "litert 2", "tflite", ("uq",), 120)
        for name in ("kitchen", "new", "liar"):
            store.note_device(name, check_in, at=1.0)
        with store.together():
            store.reputation_log.keep(
                [
                    Reputation("kitchen", judged=7),
                    Reputation("liar", 4, 3, 0, 2.0, 1, 9, "too_long", 99.0, -0.5),
                ]
            )
    assert main(["server", "devices", "--config", str(config), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    standings = {one["device"]: one["standing"] for one in shown["devices"]}
    assert standings == {"kitchen": "good", "liar": "quarantined", "new": "new"}
    (liar,) = [one for one in shown["devices"] if one["device"] == "liar"]
    assert (liar["reason"], liar["until"], liar["runtime"]) == (
        "too_long",
        9,
        "litert 2",
    )
    assert "longer" in liar["sentence"]
    assert main(["server", "devices", "--config", str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "standing",
        "good",
        "quarantined",
        "new",
    ]
    assert liar["sentence"] in lines[2]


def test_a_mode_that_the_codec_does_not_suit_is_refused_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, port=1883, rounds=1)
    config.write_text(config.read_text() + '\n[guard]\nmode = "median"\n')
    assert main(["server", "run", "--config", str(config)]) == 2
    assert 'set [codec] uplink = "int8"' in capsys.readouterr().err
