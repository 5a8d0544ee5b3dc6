"""Enrolment at a running server: answers, limits, rounds that go on meanwhile."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

import pytest

from broker_server.clocks import Clocks
from broker_server.config import RoundSection
from broker_server.enrolment_desk import EACH, EVERYBODY, EnrolmentDesk
from broker_server.enrolment_rules import DAY_S
from broker_server.fleet_folder import FleetFolder
from broker_server.vouching import MAX_LETTER_BYTES, Answer
from tests.broker_server.scripted_device import ScriptedDevice, update_of
from tests.broker_server.small_fleet import (
    NOW,
    Applicant,
    applicant,
    key_of,
    member,
    small_fleet,
)
from tests.broker_server.small_server import TOPICS, SmallServer, small_server, step_of
from tests.tools.secrets_shown import assert_no_secret
from tests.virtual_time import run_virtually
from wire_protocol.certificates import read_certificate, read_revocation_list
from wire_protocol.enrolment import EnrolGrant, EnrolRefusal, RenewalCall
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect
from wire_protocol.link import Received
from wire_protocol.signing import Verifier


class Clock:
    """A wall clock that the test sets; ``steady`` follows the loop."""

    def __init__(self) -> None:
        self.wall = NOW

    @property
    def clocks(self) -> Clocks:
        # the merge looks at it in a thread
        return Clocks(lambda: self.wall, asyncio.get_running_loop().time)


async def asked(server: SmallServer, joining: Applicant) -> bytes:
    """Publish a request; return the frame of the answer, whose seal is the fleet's."""
    folder = server.roster.folder
    assert folder is not None
    claim = joining.claim.claim
    answer = TOPICS.enrolment(claim, "res")
    before = server.broker.count(answer)
    server.broker.deliver(TOPICS.enrolment(claim, "req"), joining.letter().payload)
    await server.broker.until(lambda: server.broker.count(answer) > before)
    raw = server.broker.sent(answer)[-1]
    return Verifier(folder.signer.public).unseal(answer, raw)


async def report(device: ScriptedDevice, number: int) -> Reason:
    offer = await device.offer(number)
    await device.send(update_of(offer), step_of(offer))
    return (await device.receipt()).reason


def rehearsal(
    run: Callable[[Path], Coroutine[None, None, None]],
) -> Callable[[Path], None]:
    """Run a test on a loop with a clock of its own."""

    def test(tmp_path: Path) -> None:
        run_virtually(run(tmp_path))

    return test


async def _enrols_and_takes_part(folder: Path, joining: Applicant) -> None:
    fleet = FleetFolder(folder / "fleet")
    rounds = RoundSection(rounds=1)
    async with small_server(
        folder, rounds=rounds, fleet=fleet, clocks=Clock().clocks
    ) as server:
        grant, body = expect(EnrolGrant, await asked(server, joining))
        assert grant.device == "kitchen"
        assert read_certificate(body).public == joining.key.public
        device = await server.device("kitchen", signer=joining.key)
        assert await report(device, 1) is Reason.ACCEPTED
        assert await server.ended() == "rounds"
        assert [one.device for one in server.store.devices()] == ["kitchen"]


def test_a_device_enrols_and_takes_part_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = small_fleet(tmp_path)
    joining = applicant(fleet, "kitchen")
    with caplog.at_level(logging.DEBUG):
        run_virtually(_enrols_and_takes_part(tmp_path, joining))
    assert "kitchen has joined" in caplog.text
    assert_no_secret(fleet.path, caplog.text, joining.claim_key, joining.key)


async def _spends_the_claim(folder: Path) -> None:
    fleet = small_fleet(folder)
    async with small_server(folder, fleet=fleet, clocks=Clock().clocks) as server:
        joining = applicant(fleet, "kitchen")
        await asked(server, joining)
        await asyncio.sleep(5)
        listed = read_revocation_list((fleet.path / "revoked.crl").read_bytes())[1]
        assert not listed  # it may have to come back for the answer
        await server.device("kitchen", signer=joining.key)
        await asyncio.sleep(5)
        listed = read_revocation_list((fleet.path / "revoked.crl").read_bytes())[1]
        assert listed == {joining.claim.serial}
        grant, _ = expect(EnrolGrant, await asked(server, joining))
        assert grant.device == "kitchen"


test_a_claim_is_shut_once_its_device_was_seen = rehearsal(_spends_the_claim)


async def _refuses(folder: Path) -> None:
    fleet = small_fleet(folder)
    member(fleet, "kitchen")
    async with small_server(folder, fleet=fleet, clocks=Clock().clocks) as server:
        other = replace(applicant(fleet, "kitchen", seed="2"), key=key_of("other"))
        refusal, _ = expect(EnrolRefusal, await asked(server, other))
        assert refusal.reason is Reason.NAME_TAKEN
        late = applicant(fleet, "hall", now=NOW - 3600.0)
        refusal, _ = expect(EnrolRefusal, await asked(server, late))
        assert refusal.reason is Reason.CLAIM_OVER


test_who_may_not_join_is_told_why = rehearsal(_refuses)


async def _renews(folder: Path) -> None:
    fleet = small_fleet(folder)
    joining = member(fleet, "kitchen")
    clock = Clock()
    async with small_server(folder, fleet=fleet, clocks=clock.clocks) as server:
        called = TOPICS.device("kitchen", "cmd", "renew")
        await server.device("kitchen", signer=joining.key)
        await asyncio.sleep(10)
        assert server.broker.count(called) == 0
        clock.wall += 300 * DAY_S
        await asyncio.sleep(3590)
        assert server.broker.count(called) == 1
        await asyncio.sleep(20)
        assert server.broker.count(called) == 2
        unseal = Verifier(fleet.signer.public).unseal
        call, _ = expect(RenewalCall, unseal(called, server.broker.sent(called)[0]))
        assert call.seconds_left == pytest.approx(65 * DAY_S, abs=2)
        answer = TOPICS.device("kitchen", "cmd", "certificate")
        topic = TOPICS.device("kitchen", "renewal")
        server.broker.deliver(topic, joining.renewal().payload)
        await server.broker.until(lambda: server.broker.count(answer) == 1)
        _, body = expect(EnrolGrant, unseal(answer, server.broker.sent(answer)[0]))
        ends = read_certificate(body).not_after
        assert ends == pytest.approx(clock.wall + 365 * DAY_S, abs=2)
        await asyncio.sleep(3610)
        assert server.broker.count(called) == 2


test_a_device_is_called_on_until_it_is_renewed = rehearsal(_renews)


def test_a_hundred_devices_at_once_join_while_rounds_go_on(tmp_path: Path) -> None:
    """On the real clock: the loop must stay free while files are written."""

    async def rehearse() -> None:
        fleet = small_fleet(tmp_path)
        first = member(fleet, "first")
        joining = [
            applicant(fleet, f"pi-{number}", now=time.time()) for number in range(100)
        ]
        async with small_server(tmp_path, rounds=RoundSection(), fleet=fleet) as server:
            device = await server.device("first", signer=first.key)
            lags: list[float] = []
            watch = asyncio.create_task(_lag(lags))
            answers = asyncio.create_task(_all_asked(server, joining))
            for number in (1, 2, 3):
                assert await report(device, number) is Reason.ACCEPTED
            granted = await answers
            watch.cancel()
            assert sorted(granted) == sorted(one.device for one in joining)
            assert len(fleet.members()) == 101
            assert max(lags) < 2.0

    asyncio.run(rehearse())


async def _all_asked(server: SmallServer, joining: list[Applicant]) -> list[str]:
    """Publish all requests at once; return who was granted, in the order of answers."""
    folder = server.roster.folder
    assert folder is not None
    unseal = Verifier(folder.signer.public).unseal
    granted: list[str] = []
    async with server.broker.link() as link:
        await link.subscribe(TOPICS.enrolment("+", "res"))
        for one in joining:
            topic = TOPICS.enrolment(one.claim.claim, "req")
            server.broker.deliver(topic, one.letter().payload)
        async for event in link.events():
            if isinstance(event, Received):
                grant, _ = expect(EnrolGrant, unseal(event.topic, event.payload))
                granted.append(grant.device)
            if len(granted) == len(joining):
                break
    return granted


async def _lag(lags: list[float]) -> None:
    """Measure for how long the loop does not come round."""
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(0.005)
        lags.append(loop.time() - before - 0.005)


# --- limits -------------------------------------------------------------------------


class Counter:
    """A desk without a server."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.fleet = small_fleet(folder)
        self.answers: list[Answer] = []
        self.threads: set[int] = set()
        self.desk = EnrolmentDesk(
            self.fleet,
            answered=self.answers.extend,
            days=365.0,
            clocks=Clocks(lambda: NOW, lambda: self.now),
            random=self.drawn,
        )

    def drawn(self, length: int) -> bytes:
        """Note where certificates are made."""
        self.threads.add(threading.get_ident())
        return bytes(range(1, length + 1))

    def taken(self, claim: str, payload: bytes) -> Reason:
        try:
            self.desk.take_request(claim, payload)
        except DecodeError as error:
            return error.reason
        return Reason.ACCEPTED


CLAIM = "claim.0123456789"


def test_a_letter_has_a_size_and_a_claim_a_form(tmp_path: Path) -> None:
    counter = Counter(tmp_path)
    assert counter.taken(CLAIM, bytes(MAX_LETTER_BYTES)) is Reason.ACCEPTED
    assert counter.taken(CLAIM, bytes(MAX_LETTER_BYTES + 1)) is Reason.TOO_LARGE
    assert counter.taken("claim.../../etc", b"x") is Reason.MALFORMED


def test_one_claim_may_not_ask_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counter = Counter(tmp_path)
    outcomes = [counter.taken(CLAIM, bytes([one])) for one in range(50)]
    assert outcomes.count(Reason.ACCEPTED) == EACH.burst
    assert counter.taken("claim.9999999999", b"x") is Reason.ACCEPTED
    counter.now += 2.0
    outcomes = [counter.taken(CLAIM, bytes([one])) for one in range(50)]
    assert outcomes.count(Reason.ACCEPTED) == 2 * EACH.per_s
    warned = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warned) == 1
    counter.now += 61.0
    for one in range(50):
        counter.taken(CLAIM, bytes([one]))
    assert "93 requests" in caplog.records[-1].getMessage()


def test_all_claims_together_may_not_either(tmp_path: Path) -> None:
    counter = Counter(tmp_path)
    outcomes = [counter.taken(f"claim.{number:010x}", b"x") for number in range(1000)]
    assert outcomes.count(Reason.ACCEPTED) == EVERYBODY.burst


def test_a_letter_that_is_repeated_waits_once(tmp_path: Path) -> None:
    async def rehearse() -> None:
        counter = Counter(tmp_path)
        letter = applicant(counter.fleet, "kitchen").letter()
        for _ in range(3):
            counter.taken(letter.name, letter.payload)
        work = asyncio.create_task(counter.desk.run())
        await asyncio.sleep(1)
        work.cancel()
        assert len(counter.answers) == 1

    run_virtually(rehearse())


def test_a_damaged_folder_answers_nobody_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def rehearse() -> None:
        counter = Counter(tmp_path)
        joining = applicant(counter.fleet, "kitchen")
        broken = counter.fleet.path / "members/hall.json"
        broken.write_bytes(b"{")
        counter.taken(joining.claim.claim, joining.letter().payload)
        work = asyncio.create_task(counter.desk.run())
        await asyncio.sleep(1)
        assert "hall.json" in caplog.text
        broken.unlink()
        counter.taken(joining.claim.claim, joining.letter().payload)
        await asyncio.sleep(1)
        work.cancel()
        assert counter.answers[0].reason is Reason.ACCEPTED
        # what waits for the disk does not hold up the rounds
        assert counter.threads
        assert threading.get_ident() not in counter.threads

    run_virtually(rehearse())
