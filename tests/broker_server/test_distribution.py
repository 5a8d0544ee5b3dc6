"""Blocks go out once for all who wait."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from broker_server.carousel import Pace
from broker_server.distribution import BURST_BLOCKS, LARGE_BYTES, Distribution
from wire_protocol.blobs import Need
from wire_protocol.cutting import Listing, cut
from wire_protocol.errors import DecodeError, Reason
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
        self.news = asyncio.Event()

    async def until(self, count: int) -> None:
        """Wait until ``count`` blocks were published."""
        async with asyncio.timeout(20):
            while len(self.sent) < count:
                self.news.clear()
                await self.news.wait()

    async def publish(self, topic: str, payload: bytes) -> None:
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        await asyncio.sleep(0)
        self.together -= 1
        self.sent.append((topic, payload))
        self.news.set()


HASTY = Pace(quiet_s=0, most_s=1, rest_s=0)


def rehearse(
    script: Callable[[Distribution, Wire], Awaitable[None]], *, pace: Pace = HASTY
) -> Wire:
    wire = Wire()

    async def play() -> None:
        distribution = Distribution(
            TOPICS, wire.publish, block_bytes=1024, resend_s=2.0, pace=pace
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
        for number in range(10):
            distribution.ask(Need(REF, "f" * 9), device=f"d{number}")
        await settled(wire, 34)

    wire = rehearse(script)
    assert len(wire.sent) == len({topic for topic, _ in wire.sent}) == 34
    assembly = Assembly(REF, block_bytes=1024, max_bytes=1 << 20)
    assert [assembly.add(*expect(Block, raw)) for _, raw in wire.sent][-1] == BLOB
    assert wire.most_together <= BURST_BLOCKS


def test_needs_that_keep_coming_are_answered_together() -> None:
    async def script(distribution: Distribution, wire: Wire) -> None:
        for _ in range(10):
            distribution.ask(Need(REF, "1"), device="a")
            await settled(wire, 0)
        await wire.until(1)

    rehearse(script, pace=Pace(quiet_s=0.2, most_s=5, rest_s=0))


def test_needs_that_never_stop_are_answered_all_the_same() -> None:
    async def script(distribution: Distribution, wire: Wire) -> None:
        while not wire.sent:
            distribution.ask(Need(REF, "1"), device="a")
            await asyncio.sleep(0)

    rehearse(script, pace=Pace(quiet_s=5, most_s=0.05, rest_s=0))


def test_needs_that_come_while_the_server_rests_are_answered_together() -> None:
    async def script(distribution: Distribution, wire: Wire) -> None:
        distribution.ask(Need(REF, "1"), device="a")
        await wire.until(1)
        for _ in range(10):
            distribution.ask(Need(REF, "1"), device="a")
            await settled(wire, 1)
        await wire.until(2)
        await settled(wire, 2)

    rehearse(script, pace=Pace(quiet_s=0, most_s=1, rest_s=0.2))


def test_only_what_is_missing_is_sent() -> None:
    async def script(distribution: Distribution, wire: Wire) -> None:
        distribution.ask(Need(REF, f"{0b101:x}"), device="a")
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
            distribution.ask(Need(blob_ref(b"something else"), ""), device="a")
        assert refused.value.reason is Reason.FETCH_FAILED

    assert rehearse(script).sent == []


def test_a_blob_withdrawn_while_waited_for_is_not_sent() -> None:
    async def script(distribution: Distribution, wire: Wire) -> None:
        distribution.ask(Need(REF, "fff"), device="a")
        distribution.offer({})
        await settled(wire, 0)

    assert rehearse(script).sent == []


def test_who_begins_gets_the_list_once_for_all() -> None:
    async def script(distribution: Distribution, wire: Wire) -> None:
        for number in range(5):
            distribution.ask(Need(REF, "3", hashes=True), device=f"d{number}")
        await settled(wire, 3)

    wire = rehearse(script, pace=Pace(quiet_s=0, most_s=1, rest_s=0, company_s=0))
    topics = [topic for topic, _ in wire.sent]
    assert topics == [
        TOPICS.block_list(REF.sha256),
        TOPICS.blocks(REF.sha256, 0),
        TOPICS.blocks(REF.sha256, 1),
    ]
    listing = Listing.of(BLOB, block_bytes=1024)
    assert wire.sent[0][1] == listing.frame


def test_a_large_blob_is_listed_too() -> None:
    large = bytes(LARGE_BYTES + 1)
    listing = Listing.of(large, block_bytes=1024)

    async def script(distribution: Distribution, wire: Wire) -> None:
        distribution.offer({listing.head.blob.sha256: large})
        distribution.ask(Need(listing.head.blob, "", hashes=True), device="a")
        await wire.until(1)

    pace = Pace(quiet_s=0, most_s=1, rest_s=0, company_s=0)
    assert rehearse(script, pace=pace).sent[0][1] == listing.frame


def test_after_a_new_cut_blocks_have_the_new_size() -> None:
    async def script(distribution: Distribution, wire: Wire) -> None:
        distribution.ask(Need(REF, "fff"), device="a")
        distribution.recut(4096)
        await settled(wire, 0)
        distribution.ask(Need(REF, "2"), device="a")
        await settled(wire, 1)

    ((topic, payload),) = rehearse(script).sent
    assert topic == TOPICS.blocks(REF.sha256, 1)
    assert payload == cut(BLOB, block_bytes=4096)[1][1]


def test_blobs_wait_for_their_company_without_holding_up_others() -> None:
    other = b"small"

    async def script(distribution: Distribution, wire: Wire) -> None:
        distribution.offer({REF.sha256: BLOB, blob_ref(other).sha256: other})
        distribution.ask(Need(REF, "1", hashes=True), device="a")
        distribution.ask(Need(blob_ref(other), "1"), device="b")
        await wire.until(1)
        assert wire.sent[0][0] == TOPICS.blocks(blob_ref(other).sha256, 0)
        await wire.until(3)

    rehearse(script, pace=Pace(quiet_s=0, most_s=1, rest_s=0, company_s=0.01))


def test_what_a_device_asks_for_over_its_limit_is_not_sent() -> None:
    met: list[tuple[str, int]] = []

    def check(device: str, size: int) -> None:
        met.append((device, size))
        if device == "greedy":
            raise DecodeError("enough", reason=Reason.OVER_LIMIT)

    wire = Wire()

    async def play() -> None:
        distribution = Distribution(
            TOPICS,
            wire.publish,
            block_bytes=1024,
            resend_s=2.0,
            pace=HASTY,
            check_limits=check,
        )
        distribution.offer({REF.sha256: BLOB})
        task = asyncio.create_task(distribution.run())
        with pytest.raises(DecodeError, match="enough"):
            distribution.ask(Need(REF, "ff", hashes=True), device="greedy")
        distribution.ask(Need(REF, "1"), device="modest")
        await settled(wire, 1)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(play())
    assert met == [("greedy", 9 * 1024), ("modest", 1024)]
