"""Revoked, forgotten and unknown devices at a running server."""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from broker_server.config import RoundSection
from broker_server.fleet_folder import FleetFolder
from broker_server.reputation import Reputation
from tests.broker_server.scripted_device import update_of
from tests.broker_server.small_fleet import (
    NOW,
    Applicant,
    key_of,
    member,
    small_fleet,
)
from tests.broker_server.small_server import TOPICS, SmallServer, small_server, step_of
from tests.broker_server.test_enrolment_desk import Clock, report
from tests.fakes import MemoryBroker
from tests.virtual_time import run_virtually
from wire_protocol.certificates import read_revocation_list
from wire_protocol.errors import Reason
from wire_protocol.framing import frame
from wire_protocol.messages import CheckIn

ROUNDS = RoundSection(rounds=1, devices=2, minimum=1, deadline_s=1e6)


def forget(fleet: FleetFolder, device: str) -> None:
    with fleet.locked():
        fleet.forget_member(fleet.known_member(device))
        fleet.write_revoked()


@pytest.fixture
def fleet(tmp_path: Path) -> FleetFolder:
    return small_fleet(tmp_path)


@pytest.fixture
def two(fleet: FleetFolder) -> tuple[Applicant, Applicant]:
    return member(fleet, "kitchen"), member(fleet, "hall")


def refused(server: SmallServer) -> dict[str, int]:
    """Return what was counted in all rounds."""
    counts: dict[str, int] = {}
    for record in server.store.rounds():
        for reason, count in record.refused.items():
            counts[reason] = counts.get(reason, 0) + count
    return counts


@pytest.mark.parametrize("how", ["revoked", "forgotten"])
def test_a_round_does_not_wait_for_who_is_locked_out(
    tmp_path: Path,
    fleet: FleetFolder,
    two: tuple[Applicant, Applicant],
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def rehearse() -> None:
        clock = asyncio.get_running_loop().time
        async with small_server(
            tmp_path, rounds=ROUNDS, fleet=fleet, clocks=Clock().clocks, resend_s=60.0
        ) as server:
            kitchen = await server.device("kitchen", signer=two[0].key)
            hall = await server.device("hall", signer=two[1].key)
            offer = await hall.offer(1)
            assert set(offer.cohort) == {"kitchen", "hall"}
            assert await report(kitchen, 1) is Reason.ACCEPTED
            began = clock()
            if how == "revoked":
                fleet.revoke("hall", why="stolen", now=NOW)
            else:
                forget(fleet, "hall")
            # What it still sends is dropped, and counted.
            await asyncio.sleep(1.5)
            await hall.send(update_of(offer), step_of(offer))
            assert await server.ended() == "rounds"
            assert clock() - began < 5
            (record,) = server.store.rounds()
            assert record.outcome == "merged"
            assert [one.device for one in record.participants] == ["kitchen"]
            known = {one.device for one in server.store.devices()}
            assert known == ({"kitchen", "hall"} if how == "revoked" else {"kitchen"})

    with caplog.at_level(logging.WARNING):
        run_virtually(rehearse())
    told = "hall is locked out: stolen" if how == "revoked" else "hall was forgotten"
    assert caplog.text.count(told) == 1


def test_what_a_locked_out_device_says_is_counted(
    tmp_path: Path, fleet: FleetFolder, two: tuple[Applicant, Applicant]
) -> None:
    async def rehearse() -> None:
        async with small_server(
            tmp_path, rounds=ROUNDS, fleet=fleet, clocks=Clock().clocks
        ) as server:
            kitchen = await server.device("kitchen", signer=two[0].key)
            hall = await server.device("hall", signer=two[1].key)
            offer = await hall.offer(1)
            fleet.revoke("hall", why="", now=NOW)
            stranger = await server.device("stranger")
            await stranger.say("need", b"x")
            # The server has not looked yet: the second update of hall is one too many.
            await asyncio.sleep(0.5)
            await hall.say("need", b"x")
            await asyncio.sleep(1.5)
            await hall.send(update_of(offer), step_of(offer))
            await asyncio.sleep(0.1)
            assert await report(kitchen, 1) is Reason.ACCEPTED
            await server.ended()
            counts = refused(server)
            assert counts[Reason.REVOKED] > 0
            assert counts[Reason.UNKNOWN_DEVICE] > 0
            names = {one.device for one in server.store.devices()}
            assert names == {"kitchen", "hall"}

    run_virtually(rehearse())


def test_what_the_broker_keeps_of_a_forgotten_device_is_cleared(
    tmp_path: Path, fleet: FleetFolder, two: tuple[Applicant, Applicant]
) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, fleet=fleet, clocks=Clock().clocks) as server:
            hall = await server.device("hall", signer=two[1].key)
            await hall.say("state", b"{}", retain=True)
            await asyncio.sleep(0.1)
            kept = TOPICS.device("hall", "")
            assert sum(topic.startswith(kept) for topic in server.broker.retained) == 3
            forget(fleet, "hall")
            await asyncio.sleep(2)
            assert not [one for one in server.broker.retained if one.startswith(kept)]
            # The broker ends its session, and publishes its will.
            server.broker.deliver(kept + "availability", b"offline", retain=True)
            await asyncio.sleep(0.1)
            assert not [one for one in server.broker.retained if one.startswith(kept)]

    run_virtually(rehearse())


def test_who_was_forgotten_while_the_server_was_down_is_forgotten_at_its_start(
    tmp_path: Path, fleet: FleetFolder, two: tuple[Applicant, Applicant]
) -> None:
    broker = MemoryBroker

    async def rehearse() -> None:
        kept = broker()
        async with small_server(
            tmp_path, fleet=fleet, clocks=Clock().clocks, broker=kept
        ) as server:
            await server.device("hall", signer=two[1].key)
            await asyncio.sleep(1)
        forget(fleet, "hall")
        assert TOPICS.device("hall", "info") in kept.retained
        async with small_server(
            tmp_path, fleet=fleet, clocks=Clock().clocks, broker=kept
        ) as server:
            await asyncio.sleep(1)
            assert TOPICS.device("hall", "info") not in kept.retained
            assert not server.store.devices()

    run_virtually(rehearse())


def test_a_round_that_goes_on_after_a_restart_does_not_wait_for_the_revoked(
    tmp_path: Path, fleet: FleetFolder, two: tuple[Applicant, Applicant]
) -> None:
    async def rehearse() -> None:
        async with small_server(
            tmp_path, rounds=ROUNDS, fleet=fleet, clocks=Clock().clocks, resend_s=60.0
        ) as server:
            kitchen = await server.device("kitchen", signer=two[0].key)
            await server.device("hall", signer=two[1].key)
            assert await report(kitchen, 1) is Reason.ACCEPTED
            await server.kill()
        fleet.revoke("hall", why="", now=NOW)
        async with small_server(
            tmp_path, rounds=ROUNDS, fleet=fleet, clocks=Clock().clocks, resend_s=60.0
        ) as server:
            began = asyncio.get_running_loop().time()
            assert await server.ended() == "rounds"
            assert asyncio.get_running_loop().time() - began < 5
            (record,) = server.store.rounds()
            assert record.outcome == "merged"

    run_virtually(rehearse())


def test_a_revocation_that_was_cut_short_reaches_the_broker(
    tmp_path: Path, fleet: FleetFolder
) -> None:
    member(fleet, "hall")

    async def rehearse() -> None:
        async with small_server(tmp_path, fleet=fleet, clocks=Clock().clocks):
            await asyncio.sleep(2)
            hall = fleet.known_member("hall")
            with fleet.locked():  # and killed before the list was written
                fleet.keep_member(replace(hall, revoked=NOW))
            await asyncio.sleep(2)
            raw = (fleet.path / "revoked.crl").read_bytes()
            assert read_revocation_list(raw)[1] == {hall.serial}

    run_virtually(rehearse())


def test_a_device_is_released_and_forgotten_with_its_reputation(
    tmp_path: Path, fleet: FleetFolder, caplog: pytest.LogCaptureFixture
) -> None:
    bad = Reputation("hall", judged=9, strikes=2.0, quarantines=1, until=99)
    other = replace(bad, device="kitchen")
    member(fleet, "hall")
    member(fleet, "kitchen")

    async def rehearse() -> None:
        async with small_server(tmp_path, fleet=fleet, clocks=Clock().clocks) as server:
            await server.device("hall", signer=key_of("hall"))
            with server.store.together():
                server.store.reputation_log.keep([bad, other])
            fleet.pardon("hall")
            await asyncio.sleep(2)
            hall, kitchen = server.store.reputations()
            assert (hall.standing(5), hall.judged) == ("good", 9)
            assert kitchen == other
            assert not fleet.pardons()
            forget(fleet, "hall")
            await asyncio.sleep(2)
            assert server.store.reputations() == (other,)

    with caplog.at_level(logging.INFO):
        run_virtually(rehearse())
    assert caplog.text.count("hall is released") == 1


def test_unknown_devices_are_told_of_once_a_minute_and_never_stored(
    tmp_path: Path, fleet: FleetFolder, caplog: pytest.LogCaptureFixture
) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, fleet=fleet, clocks=Clock().clocks) as server:
            check_in = frame(CheckIn(1, "x", "tflite", ("uq",), 10))
            for number in range(300):
                name = f"stranger-{number}"
                server.broker.deliver(TOPICS.device(name, "info"), check_in)
            await asyncio.sleep(59)
            assert caplog.text.count("knocks") == 1
            assert not server.store.devices()
            cleared = server.broker.sent(TOPICS.device("+", "info")).count(b"")
            assert 0 < cleared <= 110  # a flood is not answered by another one
            await asyncio.sleep(2)
            server.broker.deliver(TOPICS.device("x", "info"), check_in)
            await asyncio.sleep(1)
            assert caplog.text.count("knocks") == 2

    run_virtually(rehearse())


def test_a_damaged_file_is_told_of_and_the_server_goes_on(
    tmp_path: Path,
    fleet: FleetFolder,
    two: tuple[Applicant, Applicant],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def rehearse() -> None:
        async with small_server(
            tmp_path,
            rounds=RoundSection(rounds=1),
            fleet=fleet,
            clocks=Clock().clocks,
        ) as server:
            path = fleet.path / "members/kitchen.json"
            path.with_suffix(".new").write_bytes(b"{")
            path.with_suffix(".new").replace(path)
            await asyncio.sleep(30)
            assert caplog.text.count("kitchen.json") == 1
            kitchen = await server.device("kitchen", signer=two[0].key)
            assert await report(kitchen, 1) is Reason.ACCEPTED

    run_virtually(rehearse())
