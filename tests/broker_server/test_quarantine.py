"""Quarantine, from end to end: who misbehaves is left out, told so, and tried again."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from broker_server.config import CodecSection, RoundSection
from broker_server.guard_settings import GuardSection
from tests.broker_server.scripted_device import ScriptedDevice, update_of
from tests.broker_server.small_server import LAYOUT, small_server, step_of
from wire_protocol.errors import Reason
from wire_protocol.messages import RoundOffer
from wire_protocol.params import Vector

EXACT = CodecSection(uplink="f32", downlink="f32")
GUARD = GuardSection(strikes=2, quarantine_rounds=2)
NAMES = ("a", "b", "c", "liar")


def honest_step(offer: RoundOffer, number: int) -> Vector:
    own = np.random.default_rng(number).normal(0, 0.01, LAYOUT.size)
    return step_of(offer) + own.astype(np.float32)


async def report(
    devices: list[ScriptedDevice], number: int, *, lie: float
) -> RoundOffer:
    """Let everybody who is invited report; the liar's update is as large as it likes.

    Returns the offer.
    """
    offer = await devices[0].offer(number)
    for index, device in enumerate(devices):
        if device.name in offer.cohort:
            delta = honest_step(offer, index)
            if device.name == "liar":
                delta = np.full(LAYOUT.size, lie, np.float32)
            await device.send(update_of(offer), delta)
    return offer


@pytest.mark.parametrize("lie", [3e38, -1e9])
def test_a_liar_is_left_out_for_some_rounds_and_ruins_nothing(
    tmp_path: Path, lie: float
) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(rounds=6, devices=4)
        async with small_server(
            tmp_path, rounds=rounds, codec=EXACT, guard=GUARD
        ) as server:
            devices = await server.joined(*NAMES)
            cohorts = []
            for number in range(1, 7):
                # after its quarantine it is as honest as the others
                now = lie if number < 5 else 0.005
                offer = await report(devices, number, lie=now)
                cohorts.append("liar" in offer.cohort)
            assert await server.ended() == "rounds"
            assert cohorts == [True, True, False, False, True, True]
            assert all(record.outcome == "merged" for record in server.store.rounds())
            params = server.store.params(6) - server.store.params(0)
            assert np.linalg.norm(params) < 6 * 0.02 * np.sqrt(LAYOUT.size) * 2
            known = {one.device: one for one in server.store.reputations()}
            assert (known["liar"].quarantines, known["liar"].reason) == (1, "too_long")
            assert not any(known[name].quarantines for name in "abc")

    asyncio.run(rehearse())


def test_an_update_of_a_device_in_quarantine_is_answered_and_does_not_count(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(rounds=4, devices=4)
        async with small_server(
            tmp_path, rounds=rounds, codec=EXACT, guard=GUARD
        ) as server:
            devices = await server.joined(*NAMES)
            liar = devices[-1]
            for number in (1, 2):
                await report(devices, number, lie=1e9)
                assert (await liar.receipt()).reason is Reason.ACCEPTED
            offer = await devices[0].offer(3)
            assert "liar" not in offer.cohort
            await liar.send(update_of(offer), step_of(offer))
            assert (await liar.receipt()).reason is Reason.QUARANTINED
            for index, device in enumerate(devices[:3]):
                await device.send(update_of(offer), honest_step(offer, index))
            await report(devices, 4, lie=0.0)
            await server.ended()
            third = server.store.rounds()[2]
            assert third.refused == {"quarantined": 1}
            assert [one.device for one in third.participants] == ["a", "b", "c"]

    asyncio.run(rehearse())


def test_updates_that_cannot_be_read_lead_there_too(tmp_path: Path) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(rounds=3, devices=4)
        async with small_server(
            tmp_path, rounds=rounds, codec=EXACT, guard=GUARD
        ) as server:
            devices = await server.joined(*NAMES)
            liar = devices[-1]
            # one good update, or nobody would miss it
            await report(devices, 1, lie=0.005)
            for number in (2, 3):
                offer = await devices[0].offer(number)
                if "liar" in offer.cohort:
                    wrong = replace(update_of(offer), codec="int8")
                    for seed in range(3):
                        delta = step_of(offer, scale=seed + 1)
                        await liar.send(wrong, delta, codec="int8")
                for index, device in enumerate(devices[:3]):
                    await device.send(update_of(offer), honest_step(offer, index))
            await server.ended()
            known = {one.device: one for one in server.store.reputations()}
            liars = known["liar"]
            assert (liars.quarantines, liars.reason) == (1, "wrong_codec")
            assert liars.offences == GUARD.strikes

    asyncio.run(rehearse())
