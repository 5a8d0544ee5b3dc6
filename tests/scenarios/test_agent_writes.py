"""What an idle agent writes, measured by the kernel on a real process."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.edge_agent.test_cli import configured, start_agent, until_line
from wire_protocol.framing import frame
from wire_protocol.link import LinkSettings, Received
from wire_protocol.messages import ServerInfo
from wire_protocol.mqtt import MqttLink
from wire_protocol.topics import Topics

TOPICS = Topics("cli-test")
GREETINGS = 200
BUDGET_BYTES_A_DAY = 1_000_000
GREETINGS_A_DAY = 2_000
"""More than one a minute, whatever restarts the server."""


def written_bytes(pid: int) -> int:
    """Return what a process has sent to the disk, in pages, as the kernel counts."""
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise AssertionError("the kernel does not tell")


async def greet(port: int, *, times: int) -> None:
    """Be a server that greets, and wait for every answer."""
    settings = LinkSettings("127.0.0.1", port, identity="greeter")
    async with MqttLink(settings, fail_fast=True) as link:
        await link.subscribe(TOPICS.device("cli", "info"))
        info = frame(ServerInfo(32768, 8, "none", 1.0))
        events = link.events()
        for _ in range(times):
            await link.publish(TOPICS.server_info, info)
            async with asyncio.timeout(10):
                async for event in events:
                    if isinstance(event, Received) and not event.retained:
                        break


@pytest.mark.broker
def test_an_idle_agent_keeps_to_its_write_budget(
    tmp_path: Path, broker_port: int
) -> None:
    agent = start_agent(configured(tmp_path, port=broker_port))
    until_line(agent, "connected to the broker")
    before = written_bytes(agent.pid)
    asyncio.run(greet(broker_port, times=GREETINGS))
    idle = written_bytes(agent.pid) - before
    assert idle * GREETINGS_A_DAY / GREETINGS <= BUDGET_BYTES_A_DAY
    agent.send_signal(signal.SIGTERM)
    _, said = agent.communicate(timeout=30)
    (last,) = [line for line in said.splitlines() if "bytes: " in line]
    # the count of starts; the runtime's probe if this was the first
    assert int(last.split()[-2]) < 1000


@pytest.mark.broker
def test_connection_numbers_grow_over_restarts(
    tmp_path: Path, broker_port: int
) -> None:
    config = configured(tmp_path, port=broker_port)
    boots = []
    for _ in range(2):
        agent = start_agent(config)
        until_line(agent, "connected to the broker")
        agent.send_signal(signal.SIGTERM)
        agent.communicate(timeout=30)
        boots.append(int((tmp_path / "state" / "boot").read_text()))
    assert boots == [1, 2]
