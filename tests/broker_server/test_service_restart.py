"""A server that is stopped or killed goes on where it was; late updates count."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from broker_server.config import CodecSection, RoundSection
from broker_server.store import Store
from tests.broker_server.scripted_device import ScriptedDevice, update_of
from tests.broker_server.small_server import (
    LAYOUT,
    TOPICS,
    SmallServer,
    small_server,
    step_of,
)
from tests.broker_server.test_service import report, shown
from wire_protocol.errors import Reason
from wire_protocol.framing import expect
from wire_protocol.messages import Abandoned, RoundOffer, UpdateReceipt
from wire_protocol.params import params_digest

TWO = RoundSection(rounds=1, devices=2)
EXACT = CodecSection(uplink="f32", downlink="f32")


async def send_filled(device: ScriptedDevice, offer: RoundOffer, value: float) -> str:
    """Send a delta that has the same value everywhere."""
    return await device.send(update_of(offer), np.full(LAYOUT.size, value, np.float32))


def states(server: SmallServer) -> Counter[str]:
    """Return what became of how many accepted updates."""
    return Counter(entry.state for entry in server.store.ledger())


def test_a_stopped_server_leaves_its_round_open_and_goes_on_with_it(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=TWO) as server:
            first, second = await server.joined("a", "b")
            assert await report(first, 1) is Reason.ACCEPTED
            server.stop.set()
            assert await server.ended() == "stopped"
            assert shown(server)["phase"] == "stopped"
            assert server.store.rounds()[0].outcome == "open"
            broker = server.broker
        async with small_server(tmp_path, rounds=TWO, broker=broker) as again:
            assert await report(second, 1) is Reason.ACCEPTED
            assert await again.ended() == "rounds"
            (record,) = again.store.rounds()
            assert [one.device for one in record.participants] == ["a", "b"]

    asyncio.run(rehearse())


def test_a_killed_server_makes_the_same_offer_again_and_keeps_what_it_had(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=TWO) as server:
            first, second = await server.joined("a", "b")
            assert await report(first, 1) is Reason.ACCEPTED
            await server.kill()
            broker = server.broker
        async with small_server(tmp_path, rounds=TWO, broker=broker) as again:
            assert await report(second, 1) is Reason.ACCEPTED
            assert await again.ended() == "rounds"
            assert states(again) == {"merged": 2}
        offers = {one for one in broker.sent(TOPICS.round(1)) if one}
        assert len(offers) == 1

    asyncio.run(rehearse())


def test_a_receipt_is_repeated_by_a_server_that_was_killed(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=TWO) as server:
            device, _ = await server.joined("a", "b")
            offer = await device.offer(1)
            transfer = await device.send(update_of(offer), step_of(offer))
            await device.receipt()
            await server.kill()
            broker = server.broker
        async with small_server(tmp_path, rounds=TWO, broker=broker) as again:
            receipt = UpdateReceipt(1, transfer, Reason.ACCEPTED)
            assert await device.receipt() == receipt  # its check-in was retained
            await device.send(update_of(offer), step_of(offer))
            assert await device.receipt() == receipt
            await device.send(update_of(offer, examples=99), step_of(offer))
            assert (await device.receipt()).reason is Reason.DUPLICATE
            assert states(again) == {"pending": 1}

    asyncio.run(rehearse())


def test_a_merge_that_was_cut_short_is_repeated_to_the_bit(tmp_path: Path) -> None:
    digests = []

    async def rehearse(folder: Path, *, killed: bool) -> None:
        async with small_server(folder, rounds=TWO) as server:
            first, second = await server.joined("a", "b")
            offer = await first.offer(1)
            await first.send(update_of(offer, examples=30), step_of(offer))
            await first.receipt()
            if killed:
                await server.kill()
                # what a server leaves that dies between "merging" and the commit
                with Store.open(server.config.server.state_dir) as store:
                    store.begin_merge(1, store.update_log.pending())
            else:
                await second.abandon(Abandoned(1, Reason.LEAVING))
                await server.ended()
                digests.append(params_digest(server.store.params(1)))
            broker = server.broker
        if killed:
            async with small_server(folder, rounds=TWO, broker=broker) as again:
                assert await again.ended() == "rounds"
                digests.append(params_digest(again.store.params(1)))
                assert states(again) == {"merged": 1}

    for killed in (False, True):
        asyncio.run(rehearse(tmp_path / str(killed), killed=killed))
    assert digests[0] == digests[1]


def test_the_deadline_begins_anew_after_a_restart(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=TWO) as server:
            device, _ = await server.joined("a", "b")
            await report(device, 1)
            await server.kill()
            broker = server.broker
        short = replace(TWO, deadline_s=0.2)
        async with small_server(tmp_path, rounds=short, broker=broker) as again:
            assert await again.ended() == "rounds"
            assert states(again) == {"merged": 1}

    asyncio.run(rehearse())


def test_a_restarted_server_goes_on_from_the_newest_version(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=replace(TWO, devices=1)) as server:
            await report(await server.device("a"), 1)
            await server.ended()
            held = server.store.params(1)
        rounds = RoundSection(rounds=2, devices=1)
        async with small_server(tmp_path, rounds=rounds) as server:
            device = await server.device("a")
            offer = await device.offer(2)
            assert offer.version == 1
            await device.follow(offer)
            assert np.array_equal(device.held, held)
            await device.send(update_of(offer), step_of(offer))
            assert await server.ended() == "rounds"

    asyncio.run(rehearse())


# --- late updates, over-selection, buffered rounds --------------------------------


def test_a_late_update_joins_the_next_merge_with_less_weight(tmp_path: Path) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(rounds=2, devices=2, goal=1, over_select=2.0)
        async with small_server(tmp_path, rounds=rounds, codec=EXACT) as server:
            good, slow = await server.joined("a", "b")
            offer = await slow.offer(1)
            await send_filled(good, await good.offer(1), 1.0)
            # b is not asked again: its update of round 1 is still to come.
            second = await good.offer(2)
            assert second.cohort == ("a",)
            transfer = await send_filled(slow, offer, -1.0)
            receipt = UpdateReceipt(1, transfer, Reason.ACCEPTED)
            assert await slow.receipt() == receipt
            await send_filled(good, second, 1.0)
            assert await server.ended() == "rounds"
            (_, record) = server.store.rounds()
            assert (record.late, record.carried) == (1, 0)
            assert states(server) == {"merged": 3}
            # FedAvgM: half the step before, and the mean with weights 1 and 2**-0.5.
            weight = 2**-0.5
            mean = (1.0 - weight) / (1.0 + weight)
            step = server.store.params(2) - server.store.params(1)
            np.testing.assert_allclose(step, 0.5 + mean, rtol=1e-5)

    asyncio.run(rehearse())


def test_an_update_that_is_too_late_is_refused_as_stale(tmp_path: Path) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(devices=2, goal=1, over_select=2.0, max_staleness=1)
        async with small_server(tmp_path, rounds=rounds) as server:
            good, slow = await server.joined("a", "b")
            offer = await slow.offer(1)
            for number in (1, 2):
                await report(good, number)
            await good.offer(3)  # the model is now two versions further
            await slow.send(update_of(offer), step_of(offer))
            assert (await slow.receipt()).reason is Reason.STALE
            assert states(server) == {"merged": 2}
            await report(good, 3)
            assert (await slow.offer(4)).cohort == ("a", "b")  # it is free again

    asyncio.run(rehearse())


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ({"base": "0" * 16}, Reason.WRONG_BASE),
        ({"layout": "0" * 16}, Reason.WRONG_SCHEMA),
        ({"round": 9}, Reason.WRONG_ROUND),
        ({"codec": "int8"}, Reason.WRONG_CODEC),
    ],
    ids=["base", "layout", "round", "codec"],
)
def test_a_late_update_must_match_its_round(
    tmp_path: Path, spoil: dict[str, str], reason: Reason
) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(devices=2, goal=1, over_select=2.0)
        async with small_server(tmp_path, rounds=rounds) as server:
            good, slow = await server.joined("a", "b")
            offer = await slow.offer(1)
            await report(good, 1)
            await good.offer(2)
            spoiled = replace(update_of(offer), **spoil)  # type: ignore[arg-type]
            await slow.send(spoiled, step_of(offer))
            assert (await slow.receipt()).reason is reason
            stranger = await server.device("c")
            await stranger.send(update_of(offer), step_of(offer))
            assert (await stranger.receipt()).reason is Reason.NOT_IN_COHORT

    asyncio.run(rehearse())


def test_a_late_update_counts_where_its_base_is_still_the_newest(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(rounds=1, devices=2, minimum=2, deadline_s=0.3)
        async with small_server(tmp_path, rounds=rounds) as server:
            good, slow = await server.joined("a", "b")
            offer = await slow.offer(1)
            await report(good, 1)
            await good.closing(1)  # failed: one is too few, and b is busy
            await slow.send(update_of(offer), step_of(offer))
            assert await server.ended() == "rounds"  # nobody had to be asked again
            failed, merged = server.store.rounds()
            assert (failed.cause, merged.cohort, merged.carried) == ("deadline", (), 2)

    asyncio.run(rehearse())


def test_more_devices_are_invited_than_a_merge_needs(tmp_path: Path) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(rounds=1, devices=5, fraction=0.6, over_select=1.25)
        async with small_server(tmp_path, rounds=rounds) as server:
            devices = {one.name: one for one in await server.joined(*"abcde")}
            offer = await devices["a"].offer(1)
            assert len(offer.cohort) == 4  # 1.25 times three fifths of five
            for name in offer.cohort[:3]:
                await report(devices[name], 1)
            assert await server.ended() == "rounds"
            (record,) = server.store.rounds()
            assert len(record.participants) == 3

    asyncio.run(rehearse())


def test_a_buffered_server_merges_every_k_updates_late_or_not(tmp_path: Path) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(mode="buffered", buffer=2, rounds=2, devices=3)
        async with small_server(tmp_path, rounds=rounds) as server:
            fast, slow, slower = await server.joined("a", "b", "c")
            late = await slower.offer(1)
            await report(fast, 1)
            joined = await server.device("d")  # while the round is open
            await joined.invited(1)
            await report(slow, 1)
            second = await fast.offer(2)
            assert second.cohort == ("a", "b")  # c and d still work on round 1
            await slower.send(update_of(late), step_of(late))
            assert (await slower.receipt()).reason is Reason.ACCEPTED
            await report(fast, 2)
            assert await server.ended() == "rounds"
            first, last = server.store.rounds()
            assert (len(first.participants), first.late) == (2, 0)
            assert (len(last.participants), last.late) == (2, 1)

    asyncio.run(rehearse())


def test_a_buffer_that_nobody_can_fill_is_merged_when_all_are_done(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(mode="buffered", buffer=50, rounds=1, devices=2)
        async with small_server(tmp_path, rounds=rounds) as server:
            for device in await server.joined("a", "b"):
                await report(device, 1)
            assert await server.ended() == "rounds"
            assert states(server) == {"merged": 2}

    asyncio.run(rehearse())


def test_a_buffered_round_outlives_its_deadline_and_a_restart(tmp_path: Path) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(mode="buffered", buffer=2, rounds=1, deadline_s=0.1)
        async with small_server(tmp_path, rounds=rounds) as server:
            first = await server.device("a")
            await first.offer(1)
            await asyncio.sleep(0.2)  # the deadline: nothing is to happen
            second = await server.device("b")
            assert (await second.invited(1)).cohort == ("a", "b")
            await server.kill()
            broker = server.broker
        async with small_server(
            tmp_path, rounds=replace(rounds, deadline_s=60.0), broker=broker
        ) as again:
            await report(first, 1)
            await report(second, 1)
            assert await again.ended() == "rounds"
            resumed, _ = expect(
                RoundOffer, [one for one in broker.sent(TOPICS.round(1)) if one][-1]
            )
            assert resumed.cohort == ("a", "b")
            assert states(again) == {"merged": 2}

    asyncio.run(rehearse())
