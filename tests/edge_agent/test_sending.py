"""An update is sent, or announced and given as it is asked for, until cancelled."""

import asyncio
from collections.abc import Awaitable, Callable

from edge_agent.sending import Sender
from tests.fakes import MemoryBroker, MemoryLink
from wire_protocol.blobs import Block, BlockList, Need
from wire_protocol.cutting import Listing, blob_ref, cut, transfer_id
from wire_protocol.framing import expect
from wire_protocol.topics import Topics

TOPICS = Topics("home")
SMALL, LARGE = b"an update", bytes(range(250)) * 40
BLOCK = 1024


class Scene:
    """A sender of one update, and what it published."""

    def __init__(self, broker: MemoryBroker, link: MemoryLink, update: bytes) -> None:
        self.broker = broker
        self.link = link
        self.ref = blob_ref(update)
        self.block_bytes = BLOCK
        self.own = TOPICS.device("a", "up", transfer_id(self.ref))
        self.sender = Sender(
            link,
            update,
            topics=TOPICS,
            device="a",
            block_bytes=lambda: self.block_bytes,
            resend_s=0.05,
            jitter=lambda: 0.5,
        )

    async def until(self, *, lists: int = 0, blocks: int = 0) -> None:
        await self.broker.until(
            lambda: len(self.lists) >= lists and len(self.blocks) >= blocks
        )

    @property
    def lists(self) -> list[BlockList]:
        raws = self.broker.sent(f"{self.own}/m")
        return [expect(BlockList, raw)[0] for raw in raws]

    @property
    def blocks(self) -> list[int]:
        raws = self.broker.sent(f"{self.own}/b/+")
        return [expect(Block, raw)[0].index for raw in raws]


def play(update: bytes, script: Callable[[Scene], Awaitable[None]]) -> Scene:
    async def whole() -> Scene:
        broker = MemoryBroker()
        scene = Scene(broker, broker.link(), update)
        task = asyncio.create_task(scene.sender.run())
        await script(scene)
        task.cancel()
        await asyncio.wait({task})
        return scene

    return asyncio.run(whole())


def test_an_update_of_one_block_is_sent_again_at_growing_intervals() -> None:
    async def script(scene: Scene) -> None:
        times = []
        for count in (1, 2, 3):
            await scene.until(blocks=count)
            times.append(asyncio.get_running_loop().time())
        assert times[1] - times[0] >= 0.049
        assert times[2] - times[1] >= 0.099

    scene = play(SMALL, script)
    assert scene.lists == []
    assert (
        scene.broker.sent(f"{scene.own}/b/0")[0] == cut(SMALL, block_bytes=BLOCK)[1][0]
    )


def test_a_larger_one_is_announced_and_gives_exactly_what_is_asked_for() -> None:
    async def script(scene: Scene) -> None:
        await scene.until(lists=1)
        assert scene.blocks == []
        scene.sender.take(Need(scene.ref, "15"))
        await scene.until(blocks=3)
        scene.sender.take(Need(scene.ref, "2"))
        scene.sender.take(Need(blob_ref(b"another"), "f"))
        await scene.until(blocks=4)
        await scene.until(lists=2)  # and nobody answered

    scene = play(LARGE, script)
    assert scene.blocks == [0, 2, 4, 1]
    assert scene.lists[0] == Listing.of(LARGE, block_bytes=BLOCK).head


def test_a_nudge_announces_at_once() -> None:
    async def script(scene: Scene) -> None:
        await scene.until(lists=3)  # the interval is 0.2 s by now
        async with asyncio.timeout(0.15):
            scene.sender.nudge()
            await scene.until(lists=4)

    play(LARGE, script)


def test_a_nudge_sends_a_small_one_at_once() -> None:
    async def script(scene: Scene) -> None:
        await scene.until(blocks=3)
        async with asyncio.timeout(0.15):
            scene.sender.nudge()
            await scene.until(blocks=4)

    play(SMALL, script)


def test_a_need_for_the_hashes_is_answered_by_an_announcement() -> None:
    async def script(scene: Scene) -> None:
        await scene.until(lists=3)
        async with asyncio.timeout(0.15):
            scene.sender.take(Need(scene.ref, "", hashes=True))
            await scene.until(lists=4)

    play(LARGE, script)


def test_a_dead_link_is_tried_again_and_a_new_broker_may_take_less() -> None:
    async def script(scene: Scene) -> None:
        await scene.until(lists=1)
        scene.link.cut()
        scene.sender.take(Need(scene.ref, "f"))
        await asyncio.sleep(0)
        scene.block_bytes = 2048
        scene.link.restore()
        scene.sender.nudge()
        await scene.until(lists=2)

    scene = play(LARGE, script)
    assert [head.block_bytes for head in scene.lists[:2]] == [1024, 2048]
