"""The server on a broker that loses messages, keeps stale ones, or is not there yet."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from broker_server.config import RoundSection
from tests.broker_server.scripted_device import ScriptedDevice, update_of
from tests.broker_server.small_server import TOPICS, small_server, step_of
from tests.broker_server.test_acceptance import OFFER
from tests.fakes import MemoryBroker, MemoryLink
from wire_protocol.errors import Reason, TransportError
from wire_protocol.framing import expect, frame
from wire_protocol.link import Will
from wire_protocol.messages import Abandoned, CheckIn, RoundOffer, UpdateReceipt

ONE_ROUND = RoundSection(rounds=1, devices=1)


async def report(device: ScriptedDevice, number: int) -> str:
    """Send the update of a round; return its transfer."""
    offer = await device.offer(number)
    return await device.send(update_of(offer), step_of(offer))


async def given_up(device: str, caplog: pytest.LogCaptureFixture) -> None:
    """Wait until the server no longer waits for ``device``."""
    async with asyncio.timeout(10):
        while f"no longer waits for {device}" not in caplog.text:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)


def test_an_offer_that_the_broker_lost_is_made_again(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=ONE_ROUND) as server:
            broker = server.broker
            broker.loses = lambda topic: (
                topic == TOPICS.round(1) and broker.count(topic) == 1
            )
            await report(await server.device("a"), 1)
            assert await server.ended() == "rounds"
            last = broker.sent(TOPICS.round(1))[-1]
            assert last == b""  # nothing repeats it after it was cleared

    asyncio.run(rehearse())


def test_what_another_server_left_on_offer_is_withdrawn_before_the_first_round(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        broker = MemoryBroker()
        stale = TOPICS.round(7)
        broker.deliver(stale, frame(replace(OFFER, round=7)), retain=True)
        async with small_server(tmp_path, rounds=ONE_ROUND, broker=broker) as server:
            await report(await server.device("a"), 1)
            await server.ended()
        order = [topic for topic, _ in broker.published if "/round/" in topic]
        assert order[:3] == [stale, stale, TOPICS.round(1)]
        assert stale not in broker.retained

    asyncio.run(rehearse())


def test_an_offer_whose_clearing_was_lost_is_withdrawn_after_the_reconnection(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        rounds = RoundSection(rounds=2, goal=1, deadline_s=0.2, max_staleness=0)
        async with small_server(tmp_path, rounds=rounds) as server:
            device = await server.device("a")
            first = await device.offer(1)
            server.broker.links[0].cut()
            # fails at the deadline, so that round 2 is opened before the link is back
            async with asyncio.timeout(10):
                while len(server.store.rounds()) < 2:  # noqa: ASYNC110 - a store has no event
                    await asyncio.sleep(0.01)
            assert server.broker.retained[TOPICS.round(1)] == frame(first)
            server.broker.links[0].restore()
            await device.closing(1)
            assert TOPICS.round(1) not in server.broker.retained

    asyncio.run(rehearse())


def test_a_device_that_comes_back_hears_its_last_receipt_again(tmp_path: Path) -> None:
    async def rehearse() -> None:
        rounds = replace(ONE_ROUND, rounds=2)
        async with small_server(tmp_path, rounds=rounds) as server:
            device = await server.device("a")
            topic = TOPICS.device("a", "cmd", "receipt")
            server.broker.loses = lambda one: (
                one == topic and server.broker.count(topic) == 1
            )
            transfer = await report(device, 1)
            await device.offer(2)  # round 1 is merged, and its receipt is lost
            await device.check_in(conn=1)
            assert server.broker.count(topic) == 1
            await device.check_in(conn=2)
            assert await device.receipt() == UpdateReceipt(1, transfer, Reason.ACCEPTED)

    asyncio.run(rehearse())


def test_a_refusal_that_is_repeated_counts_once(tmp_path: Path) -> None:
    async def rehearse() -> None:
        rounds = replace(ONE_ROUND, devices=2)
        async with small_server(tmp_path, rounds=rounds) as server:
            good, bad = await server.joined("a", "b")
            await bad.offer(1)
            for _ in range(3):
                await bad.abandon(Abandoned(1, Reason.TRAINING_FAILED))
            await report(good, 1)
            await server.ended()
            (record,) = server.store.rounds()
            assert record.refused == {Reason.TRAINING_FAILED: 1}

    asyncio.run(rehearse())


def test_an_unreadable_update_does_not_hold_up_the_round(tmp_path: Path) -> None:
    async def rehearse() -> None:
        rounds = replace(ONE_ROUND, devices=2)
        async with small_server(tmp_path, rounds=rounds) as server:
            good, odd = await server.joined("a", "b")
            await odd.offer(1)
            await odd.send_blob(b"from a newer version")
            assert (await odd.receipt()).reason is Reason.MALFORMED
            await report(good, 1)
            assert await server.ended() == "rounds"  # long before the deadline

    asyncio.run(rehearse())


def test_a_device_that_vanished_with_the_broker_is_not_invited_again(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=RoundSection(devices=2)) as server:
            good, _ghost = await server.joined("a", "b")
            offer = await good.offer(1)
            assert offer.cohort == ("a", "b")
            server.broker.links[0].cut()
            server.broker.links[0].restore()  # "online" of both was kept
            await good.check_in(conn=2)
            await good.send(update_of(offer), step_of(offer))
            assert (await good.offer(2)).cohort == ("a",)

    asyncio.run(rehearse())


def test_a_device_that_dies_in_a_round_is_waited_for_only_for_its_grace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=RoundSection(devices=2)) as server:
            good, bad = await server.joined("a", "b")
            await bad.offer(1)
            server.broker.links[2].cut()
            await report(good, 1)
            assert (await good.offer(2)).cohort == ("a",)  # long before the deadline
            assert server.store.rounds()[0].outcome == "merged"
            server.broker.links[2].restore()
            await bad.say("availability", b"online", retain=True)
            await bad.check_in(conn=2)
            await report(good, 2)
            assert (await good.offer(3)).cohort == ("a", "b")

    asyncio.run(rehearse())
    lines = [line for line in caplog.messages if "no longer waits" in line]
    assert lines == ["round 1 no longer waits for b: offline for 0.25 s"]


def test_a_device_that_is_back_within_its_grace_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def rehearse() -> None:
        rounds = replace(ONE_ROUND, devices=3, minimum=2)
        async with small_server(tmp_path, rounds=rounds) as server:
            good, flaky, _gone = await server.joined("a", "b", "c")
            offer = await flaky.offer(1)
            await report(good, 1)
            flaky_link, gone_link = server.broker.links[2:]
            flaky_link.cut()
            flaky_link.restore()
            await flaky.say("availability", b"online", retain=True)
            gone_link.cut()
            await given_up("c", caplog)  # what was b's grace is over before
            assert server.store.rounds()[0].outcome == "open"
            await flaky.send(update_of(offer), step_of(offer))
            assert await server.ended() == "rounds"
            (record,) = server.store.rounds()
            assert [one.device for one in record.participants] == ["a", "b"]

    asyncio.run(rehearse())


def test_who_is_given_up_may_still_report_while_the_round_collects(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def rehearse() -> None:
        rounds = replace(ONE_ROUND, devices=2)
        async with small_server(tmp_path, rounds=rounds) as server:
            slow, late = await server.joined("a", "b")
            offer = await late.offer(1)
            link = server.broker.links[2]
            link.cut()
            await given_up("b", caplog)
            link.restore()
            await late.send(update_of(offer), step_of(offer))
            assert (await late.receipt()).reason is Reason.ACCEPTED
            await report(slow, 1)
            await server.ended()
            (record,) = server.store.rounds()
            assert [one.device for one in record.participants] == ["a", "b"]

    asyncio.run(rehearse())


def test_when_everybody_vanishes_the_round_fails_for_too_few(tmp_path: Path) -> None:
    async def rehearse() -> None:
        async with small_server(tmp_path, rounds=ONE_ROUND) as server:
            device = await server.device("a")
            await device.offer(1)
            link = server.broker.links[1]
            link.cut()
            await server.broker.until(
                lambda: b"" in server.broker.sent(TOPICS.round(1))
            )
            (record,) = server.store.rounds()
            assert (record.outcome, record.cause) == ("failed", "too few")
            link.restore()
            await device.say("availability", b"online", retain=True)
            await device.check_in(conn=2)
            await report(device, 2)
            assert await server.ended() == "rounds"

    asyncio.run(rehearse())


def test_a_ghost_that_the_broker_still_says_is_online_does_not_hold_up_a_round(
    tmp_path: Path,
) -> None:
    async def rehearse() -> None:
        broker = MemoryBroker()
        check_in = frame(CheckIn(1, "scripted 1", "tflite", ("uq",), 10))
        for rest, said in (("availability", b"online"), ("info", check_in)):
            broker.deliver(TOPICS.device("ghost", rest), said, retain=True)
        rounds = replace(ONE_ROUND, devices=2)
        async with small_server(tmp_path, rounds=rounds, broker=broker) as server:
            device = await server.device("a")
            assert (await device.offer(1)).cohort == ("a", "ghost")
            offer, _ = expect(RoundOffer, server.broker.retained[TOPICS.round(1)])
            await device.send(update_of(offer), step_of(offer))
            assert await server.ended() == "rounds"

    asyncio.run(rehearse())


def test_nobodys_grace_ends_while_the_server_itself_is_offline(tmp_path: Path) -> None:
    async def rehearse() -> None:
        rounds = replace(ONE_ROUND, devices=2)
        async with small_server(tmp_path, rounds=rounds) as server:
            good, bad = await server.joined("a", "b")
            offer = await bad.offer(1)
            server_link, _, bad_link = server.broker.links
            bad_link.cut()
            await report(good, 1)
            await good.receipt()  # the server has heard of the cut before
            server_link.cut()
            await asyncio.sleep(0.35)  # longer than the grace: nothing is to happen
            bad_link.restore()
            await bad.say("availability", b"online", retain=True)
            await bad.check_in(conn=2)
            server_link.restore()
            assert server.store.rounds()[0].outcome == "open"
            await bad.send(update_of(offer), step_of(offer))
            await server.ended()
            (record,) = server.store.rounds()
            assert [one.device for one in record.participants] == ["a", "b"]

    asyncio.run(rehearse())


class _BrokenLink(MemoryLink):
    """A link whose first subscriptions end with the connection."""

    async def subscribe(self, topic_filter: str, *, qos: int = 1) -> None:
        """Take the filter; it holds from the next connection on."""
        del qos
        self.filters.add(topic_filter)
        raise TransportError("the connection ended before the acknowledgement")


class _BrokenBroker(MemoryBroker):
    """A broker whose first link loses its connection while it subscribes."""

    def link(
        self, *, will: Will | None = None, first_connection: int = 1
    ) -> MemoryLink:
        """Return a link, the first one a broken one."""
        if self.links:
            return super().link(will=will, first_connection=first_connection)
        link = _BrokenLink(self, will=will)
        self.links.append(link)
        link.restore()
        return link


def test_a_cut_while_the_server_subscribes_is_survived(tmp_path: Path) -> None:
    async def rehearse() -> None:
        broker = _BrokenBroker()
        async with small_server(tmp_path, rounds=ONE_ROUND, broker=broker) as server:
            device = await server.device("a")
            await broker.until(lambda: TOPICS.server_info in broker.retained)
            broker.links[0].cut()
            broker.links[0].restore()
            offer = expect(RoundOffer, await device.hear(TOPICS.round(1)))[0]
            await device.send(update_of(offer), step_of(offer))
            assert await server.ended() == "rounds"

    asyncio.run(rehearse())
