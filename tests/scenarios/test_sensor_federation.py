"""A sensor publishes JSON, a button says what it is, and a device learns from both."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from broker_server.artifact import load_artifact
from broker_server.config import (
    ModelSection,
    PlanSection,
    RoundSection,
    ServerConfig,
    ServerSection,
)
from broker_server.service import Service
from broker_server.store import Store
from model_zoo import zoo
from tests.edge_agent.test_cli import ROOT, start_agent, until_line
from tests.scenarios.commands import edgefed
from wire_protocol.framing import expect
from wire_protocol.link import LinkSettings, Received, Will
from wire_protocol.messages import CheckIn
from wire_protocol.mqtt import MqttLink
from wire_protocol.topics import Topics

MODEL = "har-cnn1d"
FLEET = Topics("sensing")
IMU, LABEL = "wrist/imu", "wrist/activity"
NAMES = ("rest", "walk", "run", "turn", "jump")
LENGTH, CHANNELS = zoo.manifest(MODEL).input_shape
PATHS = ("$.a.x", "$.a['y']", "$.a.z", "$.g[0]", "$.g[1]", "$.g[2]")
IDLE_MB = 46
"""The idle limit of 45, and what a burst of messages takes."""
CONFIG = """
[agent]
device = "wrist"
fleet = "sensing"
state_dir = "state"
runtime = "onnxruntime"
[broker]
port = {port}
[data]
source = "mqtt"
[data.mqtt]
topic = "wrist/imu"
[data.mqtt.channels]
{channels}
[data.window]
length = {length}
hop = 25
max_age_s = 5
[data.labels]
by = "topic"
topic = "wrist/activity"
classes = {{ rest = 0, walk = 1, run = 2, turn = 3, jump = 4 }}
[data.store]
min_examples = 20
flush_s = 0.2
"""


def message(activity: int, step: int) -> bytes:
    """Return what the sensor says at one moment."""
    wave = 5 * np.sin(2 * np.pi * (1 + activity) * step / LENGTH + np.arange(6))
    x, y, z, *g = (round(float(value), 3) for value in wave)
    return json.dumps({"a": {"x": x, "y": y, "z": z}, "g": g, "seq": step}).encode()


async def move(link: MqttLink, *, windows: int) -> None:
    """Do every activity for a while."""
    for activity, name in enumerate(NAMES):
        await link.publish(LABEL, name.encode(), retain=True)
        for step in range(LENGTH + 25 * windows):
            await link.publish(IMU, message(activity, step))
        await link.publish(IMU, b"not JSON, and no reason to fall over" * 3)


@contextlib.asynccontextmanager
async def serving(folder: Path, port: int) -> AsyncIterator["asyncio.Task[object]"]:
    """Run a server that holds one round with whoever comes."""
    config = ServerConfig(
        server=ServerSection(folder / "server", fleet="sensing", resend_s=0.2, seed=3),
        model=ModelSection(MODEL),
        round=RoundSection(rounds=1, devices=1, minimum=1),
        plan=PlanSection(epochs=1),
    )
    will = Will(FLEET.server_availability, b"offline")
    settings = LinkSettings("127.0.0.1", port, identity="server-sensing", will=will)
    stop = asyncio.Event()
    with Store.open(config.server.state_dir) as store:
        async with MqttLink(settings, fail_fast=True) as link:
            artifact = load_artifact(zoo.artifact_folder(MODEL))
            service = Service(config, artifact, store=store, link=link)
            task: asyncio.Task[object] = asyncio.create_task(service.run(stop))
            yield task
            stop.set()
            await task


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError("the kernel does not tell")


async def live(folder: Path, config: Path, *, port: int, agent: int) -> CheckIn:
    """Publish until the device joins, then hold a round; return its check-in."""
    settings = LinkSettings("127.0.0.1", port, identity="sensor")
    async with MqttLink(settings, fail_fast=True) as link:
        info = FLEET.device("wrist", "info")
        await link.subscribe(info)
        await move(link, windows=1)  # 10 windows: too few to join
        events = link.events()
        await move(link, windows=7)
        async with asyncio.timeout(20):
            async for event in events:
                if isinstance(event, Received) and event.topic == info:
                    check_in = expect(CheckIn, event.payload)[0]
                    break
        assert rss_mb(agent) <= IDLE_MB
        shown = await asyncio.to_thread(
            edgefed, "agent", "examples", "--config", str(config), "--json", cwd=folder
        )
        found = json.loads(shown.stdout)
        assert found["shape"] == [LENGTH, CHANNELS]
        assert set(found["classes"]) == {"0", "1", "2", "3", "4"}
        assert found["training"] >= check_in.num_examples
        assert found["bytes_on_disk"] > 1200 * found["training"]
        async with serving(folder, port) as server, asyncio.timeout(60):
            await asyncio.wait({server})
    return check_in


@pytest.mark.broker
def test_a_device_learns_from_a_sensor_on_the_broker(
    tmp_path: Path, broker_port: int
) -> None:
    channels = "\n".join(f'c{n} = "{path}"' for n, path in enumerate(PATHS))
    config = tmp_path / "agent.toml"
    config.write_text(CONFIG.format(port=broker_port, channels=channels, length=LENGTH))
    agent = start_agent(config)
    try:
        until_line(agent, "connected to the broker")
        check_in = asyncio.run(
            live(tmp_path, config, port=broker_port, agent=agent.pid)
        )
    finally:
        agent.send_signal(signal.SIGTERM)
        _, said = agent.communicate(timeout=30)
    assert agent.returncode == 0
    assert "Traceback" not in said
    assert check_in.num_examples >= 20
    with Store.open(tmp_path / "server", readonly=True) as store:
        (record,) = store.rounds()
        (participant,) = record.participants
    assert record.outcome == "merged"
    assert participant.num_examples >= check_in.num_examples


def test_what_a_device_holds_is_told_for_people(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    channels = 'c0 = "$.x"'
    config.write_text(CONFIG.format(port=1, channels=channels, length=LENGTH))
    said = edgefed("agent", "examples", "--config", str(config), cwd=ROOT).stdout
    assert "to train on   0" in said
    assert "none yet" in said
