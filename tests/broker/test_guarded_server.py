"""A server with a fleet starts a broker that lets nobody in but the fleet's members."""

import asyncio
from pathlib import Path

import pytest

from broker_server.config import (
    BrokerSection,
    ModelSection,
    SecuritySection,
    ServerConfig,
    ServerSection,
)
from broker_server.embedded_broker import free_port
from broker_server.serving import serve
from tests.broker.guarded_fleet import TOPICS, GuardedFleet, connected, turned_away
from tools.cli import find_artifact

pytestmark = pytest.mark.broker


def test_members_hear_its_signed_greeting_and_strangers_get_nowhere(
    tmp_path: Path,
) -> None:
    fleet = GuardedFleet(tmp_path)
    files, port = fleet.join("porch"), free_port(0)
    config = ServerConfig(
        ServerSection(tmp_path / "state"),
        ModelSection("digits-mlp"),
        broker=BrokerSection(port=port, listen="127.0.0.1"),
        security=SecuritySection(fleet.folder.path),
    )

    def listen() -> bytes:
        with connected(port, files) as device:
            device.subscribe(TOPICS.server_info)
            while not device.inbox:
                device.ping()
            return device.inbox[0].payload

    async def test() -> None:
        stop = asyncio.Event()
        serving = asyncio.create_task(
            serve(config, find_artifact=find_artifact, stop=stop)
        )
        while True:
            assert not serving.done(), serving.result()
            try:
                sealed = await asyncio.to_thread(listen)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                break
        assert sealed.startswith(b"EFS1")
        stranger = fleet.issue("porch", by=fleet.foreign_authority())[0]
        for who in (None, stranger):
            assert await asyncio.to_thread(turned_away, port, who)
        stop.set()
        await serving

    asyncio.run(test())
