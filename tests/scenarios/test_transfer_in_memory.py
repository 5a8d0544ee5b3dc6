"""A server and an agent: blocks suit the broker, small models cost no extra word."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

from broker_server.artifact import load_artifact
from broker_server.config import (
    CodecSection,
    ModelSection,
    RoundSection,
    ServerConfig,
    ServerSection,
)
from broker_server.service import Service
from broker_server.store import Store
from model_zoo import zoo
from tests.edge_agent.agents import running_agent
from tests.edge_agent.scenes import prepare
from tests.fakes import MemoryBroker
from wire_protocol.blobs import Block, Need
from wire_protocol.framing import expect
from wire_protocol.link import PACKET_OVERHEAD_BYTES, Will
from wire_protocol.messages import ServerInfo
from wire_protocol.topics import Topics

MODEL = "digits-mlp"
TOPICS = Topics("home")


def federation(
    folder: Path,
    *,
    rounds: int,
    block_bytes: int,
    max_packet_bytes: int | None = None,
    codec: CodecSection,
) -> tuple[MemoryBroker, list[str]]:
    """Run some rounds with one agent; return what was said, and how they ended."""

    async def whole() -> tuple[MemoryBroker, list[str]]:
        broker = MemoryBroker()
        broker.max_packet_bytes = max_packet_bytes
        config = ServerConfig(
            server=ServerSection(folder / "server", block_bytes=block_bytes),
            model=ModelSection(MODEL),
            round=RoundSection(rounds=rounds),
            codec=codec,
        )
        async with AsyncExitStack() as stack:
            store = stack.enter_context(Store.open(config.server.state_dir))
            will = Will(TOPICS.server_availability, b"offline")
            link = await stack.enter_async_context(broker.link(will=will))
            artifact = load_artifact(zoo.artifact_folder(MODEL))
            service = Service(config, artifact, store=store, link=link)
            server = asyncio.create_task(service.run(asyncio.Event()))
            prepare(folder, zoo.artifact_folder(MODEL))
            await stack.enter_async_context(running_agent(broker, folder))
            async with asyncio.timeout(60):
                await server
            return broker, [record.outcome for record in store.rounds()]

    return asyncio.run(whole())


def blocks(payloads: Iterable[bytes]) -> list[Block]:
    return [expect(Block, raw)[0] for raw in payloads]


def test_what_the_broker_takes_bounds_every_block_both_ways(tmp_path: Path) -> None:
    limit = 8192
    broker, outcomes = federation(
        tmp_path,
        rounds=2,
        block_bytes=32_768,
        max_packet_bytes=limit,
        codec=CodecSection("f32", "f32"),
    )
    assert outcomes == ["merged", "merged"]
    info, _ = expect(ServerInfo, broker.sent(TOPICS.server_info)[0])
    assert info.block_bytes == limit - PACKET_OVERHEAD_BYTES
    assert max(len(payload) for _, payload in broker.published) <= info.block_bytes
    up = blocks(broker.sent(TOPICS.device("+", "up", "+", "b", "+")))
    assert {block.blob.size > 4 * limit for block in up} == {True}
    # nothing came twice, and nothing stays behind on a disk
    assert len(up) == sum(block.count for block in up if block.index == 0)
    down = blocks(broker.sent(f"{TOPICS.root}/blob/+/b/+"))
    assert len(down) == len({(block.blob, block.index) for block in down})
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("*.map"))


def test_a_small_model_is_asked_for_once_a_round_and_sent_without_a_question(
    tmp_path: Path,
) -> None:
    rounds = 5
    broker, outcomes = federation(
        tmp_path, rounds=rounds, block_bytes=131_072, codec=CodecSection()
    )
    assert outcomes == ["merged"] * rounds
    needs = [expect(Need, raw)[0] for raw in broker.sent(TOPICS.device("+", "need"))]
    # a keyframe to begin with, then one delta for every further round
    assert [(need.wanted, need.hashes) for need in needs] == [("1", False)] * rounds
    assert broker.count(f"{TOPICS.root}/blob/+/b/+") == rounds
    assert broker.count(TOPICS.device("+", "up", "+", "b", "+")) == rounds
    for topic in (
        f"{TOPICS.root}/blob/+/m",
        TOPICS.device("+", "up", "+", "m"),
        TOPICS.device("+", "cmd", "need"),
    ):
        assert broker.count(topic) == 0
