"""A whole server in memory: devices that behave, and devices that do not."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from broker_server.config import (
    CodecSection,
    ConvergenceSection,
    LimitsSection,
    RoundSection,
)
from tests.broker_server.scripted_device import ScriptedDevice, update_of
from tests.broker_server.small_server import (
    LAYOUT,
    TOPICS,
    SmallServer,
    small_server,
    step_of,
)
from wire_protocol.codecs import codec_named
from wire_protocol.errors import Reason
from wire_protocol.framing import expect, frame
from wire_protocol.messages import Abandoned, ClientUpdate, RoundOffer

ONE_ROUND = RoundSection(rounds=1, devices=2)


async def report(device: ScriptedDevice, number: int) -> Reason:
    """Take part in a round as a good device does."""
    offer = await device.offer(number)
    await device.follow(offer)
    await device.send(update_of(offer), step_of(offer))
    return (await device.receipt()).reason


def shown(server: SmallServer) -> dict[str, object]:
    state = json.loads(server.broker.retained[TOPICS.server_state])
    assert isinstance(state, dict)
    return state


@pytest.mark.parametrize("downlink", ["uq:1", "f32"])
def test_rounds_run_until_the_configured_one(tmp_path: Path, downlink: str) -> None:
    async def rehearse() -> None:
        async with small_server(
            tmp_path,
            rounds=RoundSection(rounds=3, devices=2),
            codec=CodecSection(downlink=downlink),
        ) as server:
            devices = await server.joined("a", "b")
            for number in (1, 2, 3):
                reasons = await asyncio.gather(*(report(d, number) for d in devices))
                assert set(reasons) == {Reason.ACCEPTED}
            assert await server.ended() == "rounds"
            records = server.store.rounds()
            assert [record.outcome for record in records] == ["merged"] * 3
            assert [record.merged_version for record in records] == [1, 2, 3]
            assert records[0].metric == 0.75
            assert records[0].runtimes == ("scripted 1",)
            assert all(record.bytes_up > 0 for record in records)
            state = shown(server)
            assert (state["phase"], state["version"]) == ("finished", 3)
            # Devices hold, to the bit, what the store says they hold.
            held = server.store.params(2)
            assert all(np.array_equal(d.held, held) for d in devices)
            assert TOPICS.round(3) not in server.broker.retained
            # Float32 deltas are no smaller than the keyframe, so they are not listed.
            last, _ = expect(RoundOffer, server.broker.sent(TOPICS.round(3))[0])
            listed = [] if downlink == "f32" else [1, 2]
            assert [delta.version for delta in last.deltas] == listed

    asyncio.run(rehearse())


def test_with_float32_both_ways_a_merge_is_the_weighted_mean(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(
            tmp_path,
            rounds=ONE_ROUND,
            codec=CodecSection(uplink="f32", downlink="f32"),
        ) as server:
            for device, examples, value in zip(
                await server.joined("a", "b"), (30, 10), (1.0, -1.0), strict=True
            ):
                offer = await device.offer(1)
                delta = np.full(LAYOUT.size, value, np.float32)
                await device.send(update_of(offer, examples=examples), delta)
            await server.ended()
            step = server.store.params(1) - server.store.params(0)
            np.testing.assert_allclose(step, 0.5, atol=1e-6)

    asyncio.run(rehearse())


BAD: dict[str, tuple[Reason, Callable[[ClientUpdate], ClientUpdate]]] = {
    "of another round": (Reason.WRONG_ROUND, lambda one: replace(one, round=7)),
    "of another base": (Reason.WRONG_BASE, lambda one: replace(one, base="0" * 16)),
    "of another schema": (
        Reason.WRONG_SCHEMA,
        lambda one: replace(one, layout="0" * 16),
    ),
    "in another codec": (Reason.WRONG_CODEC, lambda one: replace(one, codec="int8")),
}


@pytest.mark.parametrize(("reason", "spoil"), BAD.values(), ids=list(BAD))
def test_a_bad_update_is_answered_counted_and_the_round_goes_on(
    tmp_path: Path, reason: Reason, spoil: Callable[[ClientUpdate], ClientUpdate]
) -> None:
    async def rehearse() -> None:
        rounds = replace(ONE_ROUND, goal=1)
        async with small_server(tmp_path, rounds=rounds) as server:
            good, bad = await server.joined("a", "b")
            offer = await bad.offer(1)
            await bad.send(spoil(update_of(offer)), step_of(offer), codec="uq")
            assert (await bad.receipt()).reason is reason
            assert await report(good, 1) is Reason.ACCEPTED
            await server.ended()
            (record,) = server.store.rounds()
            assert record.outcome == "merged"
            assert record.refused == {reason: 1}
            assert [one.device for one in record.participants] == ["a"]

    asyncio.run(rehearse())


def nan_update(offer: RoundOffer) -> bytes:
    body = np.full(LAYOUT.size, np.nan, "<f4").tobytes()
    return frame(update_of(offer), body)


def cut_update(offer: RoundOffer) -> bytes:
    body = codec_named("f32").encode(step_of(offer))
    return frame(update_of(offer), body[:-1])


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [(nan_update, Reason.NOT_FINITE), (cut_update, Reason.MALFORMED)],
    ids=["with a NaN", "cut short"],
)
def test_an_update_without_a_finite_delta_does_not_hold_up_the_round(
    tmp_path: Path, spoiled: Callable[[RoundOffer], bytes], reason: Reason
) -> None:
    async def rehearse() -> None:
        async with small_server(
            tmp_path, rounds=ONE_ROUND, codec=CodecSection(uplink="f32")
        ) as server:
            good, bad = await server.joined("a", "b")
            await bad.send_blob(spoiled(await bad.offer(1)))
            refused = (await bad.receipt()).reason
            assert refused in (reason, Reason.MALFORMED)
            assert await report(good, 1) is Reason.ACCEPTED
            await server.ended()  # at once, not at the deadline: nobody is outstanding
            (record,) = server.store.rounds()
            assert record.refused == {refused: 1}
            assert np.isfinite(server.store.params(1)).all()

    asyncio.run(rehearse())


def test_malformed_frames_on_every_topic_are_dropped_and_counted(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=ONE_ROUND) as server:
            good, bad = await server.joined("a", "b")
            offer = await bad.offer(1)
            topics = ("info", "need", "evt", "availability", "up/00/b/0")
            for rest in topics:
                await bad.say(rest, b"EFD1\xff\xff\xff\xffgarbage")
            await bad.send_blob(b"no frame at all")
            assert (await bad.receipt()).reason is Reason.MALFORMED
            await bad.send(update_of(offer), step_of(offer))
            assert (await bad.receipt()).reason is Reason.ACCEPTED
            assert await report(good, 1) is Reason.ACCEPTED
            await server.ended()
            (record,) = server.store.rounds()
            assert record.refused == {Reason.MALFORMED: len(topics) + 1}
            assert len(record.participants) == 2

    asyncio.run(rehearse())


def test_a_flood_of_one_device_costs_the_others_nothing(tmp_path: Path) -> None:
    limits = LimitsSection(messages_per_s=1, burst_messages=100)

    async def rehearse() -> None:
        rounds = replace(ONE_ROUND, goal=1)
        async with small_server(tmp_path, rounds=rounds, limits=limits) as server:
            good, bad = await server.joined("a", "b")
            offer = await bad.offer(1)
            for _ in range(1000):
                await bad.say("evt", b"garbage")
            await bad.send(update_of(offer), step_of(offer))  # too late for it
            assert await report(good, 1) is Reason.ACCEPTED
            await server.ended()
            (record,) = server.store.rounds()
            assert [one.device for one in record.participants] == ["a"]
            assert record.refused[Reason.MALFORMED] < 400
            assert record.refused[Reason.OVER_LIMIT] > 600

    asyncio.run(rehearse())


def test_the_same_update_again_is_receipted_again_and_counts_once(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=ONE_ROUND) as server:
            good, eager = await server.joined("a", "b")
            offer = await eager.offer(1)
            for _ in range(3):
                await eager.send(update_of(offer), step_of(offer))
                assert (await eager.receipt()).reason is Reason.ACCEPTED
            await eager.send(update_of(offer, examples=99), step_of(offer))
            assert (await eager.receipt()).reason is Reason.DUPLICATE
            await report(good, 1)
            await server.ended()
            (record,) = server.store.rounds()
            assert [one.num_examples for one in record.participants] == [10, 10]

    asyncio.run(rehearse())


def test_at_the_deadline_the_minimum_is_enough(tmp_path: Path) -> None:
    async def rehearse() -> None:
        rounds = replace(ONE_ROUND, deadline_s=0.2)
        async with small_server(tmp_path, rounds=rounds) as server:
            good, silent = await server.joined("a", "b")
            await report(good, 1)
            await silent.closing(1)
            await server.ended()
            (record,) = server.store.rounds()
            assert [one.device for one in record.participants] == ["a"]

    asyncio.run(rehearse())


def test_a_failing_round_says_so_and_carries_its_updates_into_the_next(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        rounds = replace(ONE_ROUND, minimum=2)
        async with small_server(tmp_path, rounds=rounds) as server:
            first, second = await server.joined("a", "b")
            assert await report(first, 1) is Reason.ACCEPTED
            await second.abandon(Abandoned(1, Reason.BUDGET_SPENT))
            # What a sent counts, so that only b is asked again.
            assert (await second.offer(2)).cohort == ("b",)
            assert await report(second, 2) is Reason.ACCEPTED
            await server.ended()
            failed, merged = server.store.rounds()
            assert (failed.outcome, failed.cause) == ("failed", "too few")
            assert (merged.outcome, merged.version) == ("merged", 0)
            assert failed.refused == {Reason.BUDGET_SPENT: 1}
            assert [one.device for one in merged.participants] == ["a", "b"]
            assert (merged.carried, merged.late) == (1, 0)

    asyncio.run(rehearse())


def test_a_device_of_another_schema_is_not_invited_until_it_checks_in_anew(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(rounds=3, devices=2)
        async with small_server(tmp_path, rounds=rounds) as server:
            good, odd = await server.joined("a", "b")
            await odd.offer(1)
            await odd.abandon(Abandoned(1, Reason.SELF_TEST_FAILED))
            await report(good, 1)
            assert (await good.offer(2)).cohort == ("a",)
            await odd.check_in(conn=2)
            offer = await odd.offer(2)
            await good.send(update_of(offer), step_of(offer))
            assert (await odd.offer(3)).cohort == ("a", "b")

    asyncio.run(rehearse())


def test_learning_ends_when_the_loss_no_longer_falls(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(
            tmp_path, convergence=ConvergenceSection(patience=2)
        ) as server:
            device = await server.device("a")
            for number in (1, 2, 3):  # every update says the same loss
                await report(device, number)
            assert await server.ended() == "converged"
            assert shown(server)["reason"] == "converged"

    asyncio.run(rehearse())


def test_everything_retained_is_said_again_after_a_reconnection(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=ONE_ROUND) as server:
            first, second = await server.joined("a", "b")
            await first.offer(1)
            broker = server.broker
            broker.links[0].cut()
            broker.retained.clear()  # the broker forgot everything
            broker.links[0].restore()
            assert await first.offer(1)
            await broker.until(lambda: TOPICS.server_state in broker.retained)
            assert broker.retained[TOPICS.server_availability] == b"online"
            assert TOPICS.server_info in broker.retained
            assert await report(second, 1) is Reason.ACCEPTED

    asyncio.run(rehearse())
