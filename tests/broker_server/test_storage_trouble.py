"""A disk that is full, or not there: the server waits, says so, and goes on."""

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from broker_server.config import RoundSection
from broker_server.storage_error import StorageError
from broker_server.storage_trouble import MAX_PAUSE_S, StorageTrouble
from broker_server.store import Store
from tests.broker_server.scripted_device import ScriptedDevice, update_of
from tests.broker_server.small_server import TOPICS, SmallServer, small_server, step_of
from tests.broker_server.test_service import report
from wire_protocol.errors import Reason
from wire_protocol.framing import frame
from wire_protocol.messages import UpdateReceipt

TWO = RoundSection(rounds=1, devices=2)


def fill_disk(store: Store) -> None:
    """Let the database grow no more, and leave no room in it for an update."""
    store._db.execute("PRAGMA max_page_count = 1")  # as many as there are
    for size in (2000, 200, 20, 1):
        with contextlib.suppress(StorageError):
            while True:
                store._db.execute(
                    "INSERT INTO payloads VALUES ((SELECT ifnull(min(round), 0) - 1"
                    " FROM payloads), 'filler', zeroblob(?))",
                    (size,),
                )


def empty_disk(store: Store) -> None:
    """Make room again."""
    store._db.execute(f"PRAGMA max_page_count = {1 << 20}")
    store._db.execute("DELETE FROM payloads WHERE device = 'filler'")


async def phase(server: SmallServer, wanted: str) -> None:
    """Wait until the server shows this phase."""

    def shows() -> bool:
        shown = server.broker.retained.get(TOPICS.server_state, b"{}")
        return bool(json.loads(shown).get("phase") == wanted)

    await server.broker.until(shows)


async def check_in_again(device: ScriptedDevice) -> None:
    """Answer the server's greeting, as devices do."""
    await device.say("availability", b"online", retain=True)
    await device.check_in(conn=1)


def test_no_update_is_receipted_that_could_not_be_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=TWO) as server:
            first, second = await server.joined("a", "b")
            offer = await first.offer(1)
            fill_disk(server.store)
            transfer = await first.send(update_of(offer), step_of(offer))
            await phase(server, "storage trouble")
            for _ in range(3):  # lost, or in vain
                await first.send(update_of(offer), step_of(offer))
            receipts = TOPICS.device("a", "cmd", "receipt")
            assert server.broker.count(receipts) == 0
            assert server.store.ledger() == []
            empty_disk(server.store)
            await phase(server, "collecting")
            for device in (first, second):
                await check_in_again(device)
            await first.send(update_of(offer), step_of(offer))
            assert await first.receipt() == UpdateReceipt(1, transfer, Reason.ACCEPTED)
            await report(second, 1)
            assert await server.ended() == "rounds"
            assert [one.state for one in server.store.ledger()] == ["merged"] * 2
            offers = {one for one in server.broker.sent(TOPICS.round(1)) if one}
            assert offers == {frame(offer)}

    asyncio.run(rehearse())
    (line,) = [one for one in caplog.messages if "trying again" in one]
    assert "disk is full" in line
    assert "free some disk space" in line


def test_a_merge_that_cannot_be_stored_is_repeated_when_it_can(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=TWO) as server:
            first, second = await server.joined("a", "b")
            await report(first, 1)
            blobs = tmp_path / "state" / "blobs"
            blobs.rename(tmp_path / "away")
            blobs.write_bytes(b"no folder")
            await report(second, 1)  # stored and receipted: the database has room
            await phase(server, "storage trouble")
            blobs.unlink()
            (tmp_path / "away").rename(blobs)
            assert await server.ended() == "rounds"
            assert [one.merged_version for one in server.store.ledger()] == [1, 1]
            server.store.params(1)

    asyncio.run(rehearse())


def test_a_database_that_another_holds_locked_is_waited_for(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=TWO) as server:
            server.store._db.execute("PRAGMA busy_timeout = 10")
            first, second = await server.joined("a", "b")
            await first.offer(1)
            other = sqlite3.connect(tmp_path / "state" / "server.sqlite")
            other.execute("BEGIN IMMEDIATE")
            await check_in_again(first)
            await phase(server, "storage trouble")
            other.rollback()
            other.close()
            await phase(server, "collecting")
            for device in (first, second):
                await check_in_again(device)
                await report(device, 1)
            assert await server.ended() == "rounds"

    asyncio.run(rehearse())


def test_a_server_in_trouble_can_be_stopped_and_hears_of_connections(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=TWO) as server:
            first, _ = await server.joined("a", "b")
            offer = await first.offer(1)
            fill_disk(server.store)
            await first.send(update_of(offer), step_of(offer))
            await phase(server, "storage trouble")
            server.broker.links[0].cut()
            server.broker.links[0].restore()
            server.stop.set()
            assert await server.ended() == "stopped"
            assert server.store.rounds()[0].outcome == "open"

    asyncio.run(rehearse())


def test_nothing_of_a_batch_that_failed_is_sent(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=TWO) as server:
            first, second = await server.joined("a", "b")
            offer = await first.offer(1)
            fill_disk(server.store)
            # Both arrive together: the first, refused, needs no store to be answered.
            await first.send(update_of(offer), step_of(offer), codec="f32")
            await second.send(update_of(offer), step_of(offer))
            await phase(server, "storage trouble")
            sent = server.broker.count(TOPICS.device("+", "cmd", "receipt"))
            empty_disk(server.store)
            assert sent == 0

    asyncio.run(rehearse())


def test_pauses_grow_while_trouble_returns_and_are_short_again_after_it() -> None:
    trouble = StorageTrouble(first_pause_s=2.0)
    error = StorageError("disk full")
    now, pauses = 0.0, []
    for _ in range(7):
        pauses.append(trouble.met(error, at=now))
        now += pauses[-1]
    assert pauses == [2, 4, 8, 16, 32, MAX_PAUSE_S, MAX_PAUSE_S]
    assert trouble.met(error, at=now + 3600) == 2


def test_a_cause_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    trouble = StorageTrouble(first_pause_s=2.0)
    for at, problem in (
        (0.0, "full"),
        (2.0, "full"),
        (6.0, "locked"),
        (14.0, "locked"),
    ):
        trouble.met(StorageError(problem), at=at)
    assert [line.split(";")[0] for line in caplog.messages] == ["full", "locked"]
