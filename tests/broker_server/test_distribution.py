"""Blocks go out once for all who wait."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from broker_server.distribution import BURST_BLOCKS, Distribution
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.messages import Need
from wire_protocol.topics import Topics
from wire_protocol.transfer import Assembly, Block, blob_ref, expect

BLOB = bytes(range(256)) * 100
REF = blob_ref(BLOB)
TOPICS = Topics("test")


class Wire:
    """Collects what is published."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.together = 0
        self.most_together = 0

    async def publish(self, topic: str, payload: bytes) -> None:
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        await asyncio.sleep(0)
        self.together -= 1
        self.sent.append((topic, payload))


def rehearse(script: Callable[[Distribution, Wire], Awaitable[None]]) -> Wire:
    wire = Wire()

    async def play() -> None:
        async def gather() -> None:
            await asyncio.sleep(0)

        distribution = Distribution(
            TOPICS, wire.publish, gather=gather, block_bytes=1024
        )
        distribution.offer({REF.sha256: BLOB})
        task = asyncio.create_task(distribution.run())
        await script(distribution, wire)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(play())
    return wire


async def settled(wire: Wire, count: int) -> None:
    """Let everything happen that will: no time passes in this test, only turns."""
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(wire.sent) == count


def test_one_block_serves_every_device_that_waits() -> None:
    async def script(distribution: Distribution, wire: Wire) -> None:
        for _ in range(10):
            distribution.ask(Need(REF, ""))
        await settled(wire, 34)

    wire = rehearse(script)
    assert len(wire.sent) == len({topic for topic, _ in wire.sent}) == 34
    assembly = Assembly(REF, block_bytes=1024, max_bytes=1 << 20)
    assert [assembly.add(*expect(Block, raw)) for _, raw in wire.sent][-1] == BLOB
    assert wire.most_together <= BURST_BLOCKS


def test_only_what_is_missing_is_sent() -> None:
    async def script(distribution: Distribution, wire: Wire) -> None:
        distribution.ask(Need(REF, f"{0b101:x}"))
        await settled(wire, 2)

    wire = rehearse(script)
    assert [topic for topic, _ in wire.sent] == [
        TOPICS.blocks(REF.sha256, 0),
        TOPICS.blocks(REF.sha256, 2),
    ]


def test_blobs_that_are_not_on_offer_are_refused() -> None:
    async def script(distribution: Distribution, wire: Wire) -> None:
        del wire
        with pytest.raises(DecodeError) as refused:
            distribution.ask(Need(blob_ref(b"something else"), ""))
        assert refused.value.reason is Reason.FETCH_FAILED

    assert rehearse(script).sent == []


def test_a_blob_withdrawn_while_waited_for_is_not_sent() -> None:
    async def script(distribution: Distribution, wire: Wire) -> None:
        distribution.ask(Need(REF, ""))
        distribution.offer({})
        await settled(wire, 0)

    assert rehearse(script).sent == []
