"""Fetching over a link in memory: resumed, repaired, and never asked for in vain."""

import asyncio
import functools
import itertools
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.fetching import Fetcher
from tests.fakes import MemoryBroker, MemoryLink
from wire_protocol.blobs import BlobRef, Block, Need
from wire_protocol.cutting import Listing, block_frame, cut, wanted_blocks
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect, frame
from wire_protocol.link import Connected, Received
from wire_protocol.messages import ServerInfo
from wire_protocol.part_files import DiskFullError
from wire_protocol.topics import Topics

TOPICS = Topics("home")
BLOCK = 1024
WINDOW = 4
INFO = ServerInfo(BLOCK, WINDOW, "none", 0.05)
BLOB = bytes(index * index % 251 for index in range(20_000))
REF, FRAMES = cut(BLOB, block_bytes=BLOCK)
COUNT = len(FRAMES)
LIMIT = 1 << 20


class Scene:
    """A device that fetches, and a server that answers needs as a test wants."""

    def __init__(self, broker: MemoryBroker, link: MemoryLink, folder: Path) -> None:
        self.broker = broker
        self.link = link
        self.folder = folder
        self.server = broker.link()
        self.blobs = {REF.sha256: BLOB}
        self.block_bytes = BLOCK
        self.lists = True
        self.needs: list[Need] = []
        self.asked = asyncio.Event()
        self.restart()

    def restart(self, *, on_disk: bool = True) -> None:
        """Begin anew, with what is on the disk."""
        self.fetcher = Fetcher(
            self.link,
            topics=TOPICS,
            device="a",
            parts=self.folder if on_disk else None,
            jitter=lambda: 0.5,
        )

    async def fetch(self, ref: BlobRef = REF) -> bytes:
        async with asyncio.timeout(20):
            return await self.fetcher.fetch(ref, info=INFO, max_bytes=LIMIT)

    async def answer(self, need: Need) -> None:
        """Send what the need asks for."""
        blob = self.blobs.get(need.blob.sha256)
        if blob is None:
            return
        if need.hashes and self.lists:
            listing = Listing.of(blob, block_bytes=self.block_bytes)
            await self.server.publish(
                TOPICS.block_list(need.blob.sha256), listing.frame
            )
        _, frames = cut(blob, block_bytes=self.block_bytes)
        for index in wanted_blocks(need.wanted, count=len(frames)):
            topic = TOPICS.blocks(need.blob.sha256, index)
            await self.server.publish(topic, frames[index])

    @property
    def wanted(self) -> list[list[int]]:
        return [wanted_blocks(need.wanted, count=COUNT) for need in self.needs]

    def blocks_sent(self) -> int:
        return self.broker.count(TOPICS.blocks(REF.sha256))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Scene"]:
        await self.server.subscribe(TOPICS.device("+", "need"))

        async def serve() -> None:
            async for event in self.server.events():
                if isinstance(event, Received):
                    self.needs.append(expect(Need, event.payload)[0])
                    self.asked.set()
                    await self.answer(self.needs[-1])

        async def listen() -> None:
            async for event in self.link.events():
                if isinstance(event, Received):
                    self.fetcher.receive(event.payload)
                elif isinstance(event, Connected) and event.conn > 1:
                    self.fetcher.reconnected()

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(serve()), group.create_task(listen())]
            yield self
            for task in tasks:
                task.cancel()


def play(folder: Path, script: Callable[[Scene], Awaitable[None]]) -> Scene:
    async def whole() -> Scene:
        broker = MemoryBroker()
        async with Scene(broker, broker.link(), folder / "parts").running() as scene:
            await script(scene)
        return scene

    return asyncio.run(whole())


def test_a_blob_comes_a_window_at_a_time_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    async def script(scene: Scene) -> None:
        assert await scene.fetch() == BLOB
        await asyncio.sleep(0)  # the unsubscribing

    scene = play(tmp_path, script)
    assert scene.blocks_sent() == COUNT
    assert max(len(wanted) for wanted in scene.wanted) <= WINDOW
    assert [need.hashes for need in scene.needs] == [True] + [False] * (
        len(scene.needs) - 1
    )
    assert not list((tmp_path / "parts").iterdir())
    assert scene.link.filters == set()
    assert scene.fetcher.bytes_fetched == len(BLOB)
    assert scene.fetcher.bytes_written >= len(BLOB)


def test_a_blob_of_one_block_needs_one_message_and_no_disk(tmp_path: Path) -> None:
    small, (block,) = cut(b"small", block_bytes=BLOCK)

    async def script(scene: Scene) -> None:
        scene.blobs[small.sha256] = b"small"
        assert await scene.fetch(small) == b"small"

    scene = play(tmp_path, script)
    assert scene.needs == [Need(small, "1")]
    assert scene.broker.count(TOPICS.block_list(small.sha256)) == 0
    assert scene.broker.sent(TOPICS.blocks(small.sha256)) == [block]
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("stop_after", range(1, COUNT, 3))
def test_a_new_process_asks_only_for_what_it_lacks(
    tmp_path: Path, stop_after: int
) -> None:
    async def script(scene: Scene) -> None:
        task = asyncio.create_task(scene.fetch())
        await scene.broker.until(lambda: scene.blocks_sent() >= stop_after)
        task.cancel()
        await asyncio.wait({task})
        scene.restart()
        assert await scene.fetch() == BLOB

    scene = play(tmp_path, script)
    assert scene.blocks_sent() <= COUNT + WINDOW


def test_without_a_folder_everything_is_in_memory(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.restart(on_disk=False)
        assert await scene.fetch() == BLOB
        assert scene.fetcher.bytes_written == 0

    play(tmp_path, script)
    assert not (tmp_path / "parts").exists()


def test_a_fetched_file_is_moved_to_its_place(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        small = cut(b"small", block_bytes=BLOCK)[0]
        scene.blobs[small.sha256] = b"small"

        def write(path: Path, content: bytes) -> None:
            path.write_bytes(content)

        fetch = functools.partial(
            scene.fetcher.fetch_file, info=INFO, max_bytes=LIMIT, write=write
        )
        async with asyncio.timeout(20):
            await fetch(REF, tmp_path / "file")
            await fetch(small, tmp_path / "small")

    play(tmp_path, script)
    assert (tmp_path / "file").read_bytes() == BLOB
    assert (tmp_path / "small").read_bytes() == b"small"
    assert not list((tmp_path / "parts").iterdir())


def test_without_a_list_the_digest_decides(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.lists = False
        assert await scene.fetch() == BLOB

    play(tmp_path, script)


def test_a_wrong_block_is_counted_and_only_its_group_comes_again(
    tmp_path: Path,
) -> None:
    async def script(scene: Scene) -> None:
        honest = scene.answer

        async def lying(need: Need) -> None:
            assert need.wanted == "f"
            scene.answer = honest  # type: ignore[method-assign]
            listing = Listing.of(BLOB, block_bytes=BLOCK)
            topic = TOPICS.block_list(REF.sha256)
            await scene.server.publish(topic, listing.frame)
            wrong = frame(Block(REF, 0, COUNT), bytes(768))
            await scene.server.publish(TOPICS.blocks(REF.sha256, 0), wrong)
            await honest(Need(REF, "e"))

        scene.answer = lying  # type: ignore[method-assign]
        assert await scene.fetch() == BLOB

    scene = play(tmp_path, script)
    assert scene.fetcher.dropped == {Reason.MALFORMED: 1}
    assert scene.blocks_sent() == COUNT + 2  # two share a hash


def test_a_server_that_cuts_otherwise_now_is_followed(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        task = asyncio.create_task(scene.fetch())
        await scene.broker.until(lambda: scene.blocks_sent() >= 5)
        scene.block_bytes = 4096
        assert await task == BLOB

    play(tmp_path, script)


def test_what_was_one_block_may_be_many_by_now(tmp_path: Path) -> None:
    old = ServerInfo(32_768, WINDOW, "none", 0.05)

    async def script(scene: Scene) -> None:
        async with asyncio.timeout(20):
            assert await scene.fetcher.fetch(REF, info=old, max_bytes=LIMIT) == BLOB

    scene = play(tmp_path, script)
    assert [need.hashes for need in scene.needs[:2]] == [False, True]


def test_a_lost_connection_makes_it_ask_at_once(tmp_path: Path) -> None:
    patient = ServerInfo(BLOCK, WINDOW, "none", 3600.0)

    async def script(scene: Scene) -> None:
        task = asyncio.create_task(
            scene.fetcher.fetch(REF, info=patient, max_bytes=LIMIT)
        )
        await scene.broker.until(lambda: scene.blocks_sent() >= 5)
        scene.link.cut()
        await asyncio.sleep(0)
        scene.link.restore()
        async with asyncio.timeout(20):
            assert await task == BLOB

    scene = play(tmp_path, script)
    assert scene.blocks_sent() <= COUNT + WINDOW


def test_silence_is_asked_into_at_growing_intervals(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.blobs.clear()
        loop = asyncio.get_running_loop()
        times = []
        task = asyncio.create_task(scene.fetch())
        for _ in range(4):
            scene.asked.clear()
            await scene.asked.wait()
            times.append(loop.time())
        task.cancel()
        await asyncio.wait({task})
        gaps = [after - before for before, after in itertools.pairwise(times)]
        # 0.05 s, 0.1 s, 0.2 s with the jitter of this test
        assert gaps[0] >= 0.049
        assert gaps[1] >= 0.099
        assert gaps[2] >= 0.199

    scene = play(tmp_path, script)
    assert all(need.hashes for need in scene.needs)


def test_duplicates_cause_no_needs(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        honest = scene.answer

        async def thrice(need: Need) -> None:
            for _ in range(3):
                await honest(need)

        scene.answer = thrice  # type: ignore[method-assign]
        assert await scene.fetch() == BLOB

    scene = play(tmp_path, script)
    assert sum(len(wanted) for wanted in scene.wanted) == COUNT


def test_several_blobs_come_at_once(tmp_path: Path) -> None:
    others = [bytes([number]) * 9000 for number in range(5)]

    async def script(scene: Scene) -> None:
        refs = [cut(other, block_bytes=BLOCK)[0] for other in others]
        for ref, other in zip(refs, others, strict=True):
            scene.blobs[ref.sha256] = other
        assert await asyncio.gather(*(scene.fetch(ref) for ref in refs)) == others

    play(tmp_path, script)


def test_two_who_want_the_same_blob_get_it_one_after_the_other(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        assert list(await asyncio.gather(scene.fetch(), scene.fetch())) == [BLOB] * 2
        assert not scene.fetcher._locks

    play(tmp_path, script)


def test_a_blob_over_the_limit_is_refused_without_a_word(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        with pytest.raises(DecodeError) as refused:
            await scene.fetch(BlobRef("ab" * 32, LIMIT + 1))
        assert refused.value.reason is Reason.TOO_LARGE

    scene = play(tmp_path, script)
    assert scene.needs == []
    assert not list(tmp_path.rglob("*.part"))


def test_a_full_disk_is_told_before_anything_is_asked_for(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
        try:
            with pytest.raises(DiskFullError):
                await scene.fetch()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert play(tmp_path, script).needs == []


def test_a_disk_that_fails_on_the_way_is_told(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.blobs.clear()
        task = asyncio.create_task(scene.fetch())
        await scene.asked.wait()
        for path in scene.folder.iterdir():
            path.unlink()
        for index in range(4):
            raw = block_frame(BLOB, REF, index=index, count=COUNT, block_bytes=BLOCK)
            await scene.server.publish(TOPICS.blocks(REF.sha256, index), raw)
        with pytest.raises(Exception, match="cannot be used"):
            await task

    play(tmp_path, script)
