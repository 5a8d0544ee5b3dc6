"""The server on a broker that loses messages, keeps stale ones, or is not there yet."""

import asyncio
from dataclasses import replace
from pathlib import Path

from broker_server.config import RoundSection
from tests.broker_server.scripted_device import ScriptedDevice, update_of
from tests.broker_server.small_server import TOPICS, small_server, step_of
from tests.broker_server.test_acceptance import OFFER
from tests.fakes import MemoryBroker, MemoryLink
from wire_protocol.errors import Reason, TransportError
from wire_protocol.framing import expect, frame
from wire_protocol.link import Will
from wire_protocol.messages import Abandoned, RoundOffer, UpdateReceipt

ONE_ROUND = RoundSection(rounds=1, devices=1)


async def report(device: ScriptedDevice, number: int) -> str:
    """Send the update of a round; return its transfer."""
    offer = await device.offer(number)
    return await device.send(update_of(offer), step_of(offer))


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
        rounds = replace(ONE_ROUND, rounds=2, goal=1, deadline_s=0.2)
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
        rounds = RoundSection(devices=2, deadline_s=0.5)
        async with small_server(tmp_path, rounds=rounds) as server:
            good, _ghost = await server.joined("a", "b")
            offer = await good.offer(1)
            assert offer.cohort == ("a", "b")
            server.broker.links[0].cut()
            server.broker.links[0].restore()  # "online" of both was kept
            await good.check_in(conn=2)
            await good.send(update_of(offer), step_of(offer))
            assert (await good.offer(2)).cohort == ("a",)

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

    def link(self, *, will: Will | None = None) -> MemoryLink:
        """Return a link, the first one a broken one."""
        if self.links:
            return super().link(will=will)
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
