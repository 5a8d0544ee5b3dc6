"""The link, against real brokers: it comes back, it counts, it never drops silently."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.embedded_broker import LOOPBACK, embedded_broker
from tests.broker.broker_fixtures import Mosquitto, free_port
from tests.broker.proxy import CountingProxy
from wire_protocol.errors import ShutOutError, TransportError
from wire_protocol.link import (
    MAX_PAYLOAD_BYTES,
    PACKET_OVERHEAD_BYTES,
    Connected,
    Disconnected,
    LinkEvent,
    LinkSettings,
    Received,
    Traffic,
    Will,
)
from wire_protocol.mqtt import MqttLink, retry_ceiling_s

pytestmark = pytest.mark.broker

MAX_PACKET_BYTES = MAX_PAYLOAD_BYTES + PACKET_OVERHEAD_BYTES
"""What our own broker says in its CONNACK."""


def settings(port: int, **changes: Any) -> LinkSettings:
    return LinkSettings(LOOPBACK, port, identity=f"t-{uuid.uuid4().hex}", **changes)


def linked(port: int, **changes: Any) -> MqttLink:
    return MqttLink(settings(port, **changes), fail_fast=True, jitter=lambda: 0.1)


def topic() -> str:
    return f"test/{uuid.uuid4().hex}"


def run(test: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await test

    asyncio.run(limited())


async def until(events: AsyncIterator[LinkEvent], kind: type[Any]) -> Any:
    """Return the next event of this kind; what comes before it is skipped."""
    async for event in events:
        if isinstance(event, kind):
            return event
    pytest.fail(f"the link closed before {kind}")


@asynccontextmanager
async def scripted_broker(
    replies: dict[int, list[bytes]],
) -> AsyncIterator[int]:
    """Serve one answer after another to each type of packet (its high nibble)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                left = replies.get(data[0] >> 4, [])
                if left:
                    writer.write(left.pop(0))
        finally:
            writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


def test_a_message_arrives_as_it_was_sent(broker_port: int) -> None:
    async def test() -> None:
        async with linked(broker_port) as link:
            events = link.events()
            assert await anext(events) == Connected(1, "5", MAX_PACKET_BYTES)
            name, payload = topic(), bytes(range(256)) * 16
            await link.subscribe(name)
            await link.publish(name, payload)
            assert await anext(events) == Received(name, payload, retained=False)

    run(test())


def test_messages_keep_their_order(broker_port: int) -> None:
    async def test() -> None:
        async with linked(broker_port) as link:
            name, events = topic(), link.events()
            await link.subscribe(name)
            sends = [link.publish(name, bytes([n])) for n in range(200)]
            await asyncio.gather(*sends)
            got = [(await until(events, Received)).payload[0] for _ in range(200)]
            assert got == list(range(200))

    run(test())


def test_a_retained_message_is_marked_so_for_those_who_come_late(
    broker_port: int,
) -> None:
    async def test() -> None:
        async with linked(broker_port) as link:
            name, events = topic(), link.events()
            await link.publish(name, b"kept", retain=True)
            await link.subscribe(name)
            assert await until(events, Received) == Received(name, b"kept", True)
            await link.publish(name, b"", retain=True)

    run(test())


def test_after_unsubscribing_nothing_more_arrives(broker_port: int) -> None:
    async def test() -> None:
        async with linked(broker_port) as link:
            left, kept, events = topic(), topic(), link.events()
            await link.subscribe(left)
            await link.subscribe(kept)
            await link.unsubscribe(left)
            await link.publish(left, b"unheard")
            await link.publish(kept, b"heard")
            assert (await until(events, Received)).payload == b"heard"

    run(test())


def test_where_nobody_listens_failing_fast_says_so_with_a_remedy() -> None:
    async def test() -> None:
        port = free_port()
        with pytest.raises(TransportError, match=f"{port}.*refused.* - start one"):
            async with linked(port):
                pass

    run(test())


def test_a_link_that_does_not_fail_fast_waits_for_its_broker(
    mosquitto: Mosquitto,
) -> None:
    async def test() -> None:
        mosquitto.kill()
        link = MqttLink(settings(mosquitto.port), jitter=lambda: 0.01)
        async with link:
            events = link.events()
            assert (
                "no MQTT broker answers" in (await until(events, Disconnected)).reason
            )
            with pytest.raises(TransportError, match="not connected"):
                await link.publish("any", b"")
            await link.subscribe("early")
            await asyncio.to_thread(mosquitto.start)
            came = await anext(events)
            assert isinstance(came, Connected)
            await link.publish("early", b"bird")
            assert (await until(events, Received)).payload == b"bird"

    run(test())


def test_a_killed_broker_that_comes_back_finds_the_subscriptions_again(
    mosquitto: Mosquitto,
) -> None:
    async def test() -> None:
        link = MqttLink(settings(mosquitto.port), jitter=lambda: 0.01)
        async with link:
            events = link.events()
            conn = (await until(events, Connected)).conn
            for name in ("a", "b/#"):
                await link.subscribe(name)
            for _ in range(2):
                await asyncio.to_thread(mosquitto.kill)
                await until(events, Disconnected)
                await asyncio.to_thread(mosquitto.start)
                before, conn = conn, (await until(events, Connected)).conn
                assert conn > before
                for name in ("a", "b/c"):
                    await link.publish(name, b"again")
                    assert (await anext(events)).topic == name  # type: ignore[union-attr]

    run(test())


def test_a_publication_in_flight_fails_as_soon_as_the_connection_ends(
    broker_port: int,
) -> None:
    async def test() -> None:
        async with (
            CountingProxy(broker_port) as proxy,
            linked(proxy.port) as link,
        ):
            proxy.hold()
            sending = asyncio.ensure_future(link.publish(topic(), b"lost"))
            await proxy.held()
            proxy.cut()
            with pytest.raises(TransportError, match="ended"):
                async with asyncio.timeout(2):
                    await sending

    run(test())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_the_will_is_published_by_the_broker_when_the_cable_is_cut(
    broker_port: int, protocol: str
) -> None:
    async def test() -> None:
        async with linked(broker_port) as watcher, CountingProxy(broker_port) as proxy:
            name, events = topic(), watcher.events()
            await watcher.subscribe(name)
            will = Will(name, b"offline", retain=False)
            async with linked(proxy.port, will=will, protocol=protocol) as link:
                proxy.cut()
                assert (await until(events, Received)).payload == b"offline"
                await until(link.events(), Disconnected)

    run(test())


def test_leaving_in_order_publishes_the_will_once(broker_port: int) -> None:
    async def test() -> None:
        async with linked(broker_port) as watcher:
            name, events = topic(), watcher.events()
            await watcher.subscribe(name)
            async with linked(broker_port, will=Will(name, b"offline")):
                pass
            assert (await until(events, Received)).payload == b"offline"
            await watcher.publish(name, b"", retain=True)
            assert (await until(events, Received)).payload == b""

    run(test())


def test_a_will_tells_which_connection_ended(broker_port: int) -> None:
    async def test() -> None:
        name = topic()
        doomed = settings(broker_port, will=Will(name, b"gone"), first_connection=7)
        async with (
            CountingProxy(broker_port) as proxy,
            linked(broker_port) as link,
            MqttLink(replace(doomed, port=proxy.port), jitter=lambda: 0.1) as other,
        ):
            await until(other.events(), Connected)
            await link.subscribe(name)
            proxy.cut()
            came = await until(link.events(), Received)
            assert (came.payload, came.conn) == (b"gone", 7)

    run(test())


def test_events_end_and_publishing_fails_once_the_link_is_closed(
    broker_port: int,
) -> None:
    async def test() -> None:
        async with linked(broker_port) as link:
            events = link.events()
        assert [event async for event in events] in (
            [],
            [Connected(1, "5", MAX_PACKET_BYTES)],
        )
        with pytest.raises(TransportError, match="not connected"):
            await link.publish("any", b"")

    run(test())


def test_amqtt_which_ignores_mqtt_5_is_spoken_to_in_mqtt_3(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            embedded_broker(0, tmp_path, kind="amqtt") as broker,
            linked(broker.port, connack_timeout_s=0.5) as link,
        ):
            events = link.events()
            assert await anext(events) == Connected(1, "3.1.1")
            await link.subscribe("name/+")
            await link.publish("name/x", b"payload")
            assert await anext(events) == Received("name/x", b"payload", retained=False)

    run(test())


def test_a_broker_that_refuses_mqtt_5_is_asked_again_in_mqtt_3_at_once() -> None:
    async def test() -> None:
        answers = {1: [b"\x20\x02\x00\x01", b"\x20\x02\x00\x00"]}
        async with (
            asyncio.timeout(2),
            scripted_broker(answers) as port,
            linked(port) as link,
        ):
            assert await anext(link.events()) == Connected(1, "3.1.1")

    run(test())


SHUT_OUT = {
    "MQTT 5": ("5", b"\x20\x03\x00\x87\x00"),
    "3.1.1": ("3.1.1", b"\x20\x02\x00\x05"),
    "any": ("auto", b"\x20\x03\x00\x87\x00"),
}


@pytest.mark.parametrize(("protocol", "answer"), SHUT_OUT.values(), ids=SHUT_OUT)
def test_a_broker_that_refuses_the_device_is_not_asked_in_another_version(
    protocol: str, answer: bytes
) -> None:
    async def test() -> None:
        async with scripted_broker({1: [answer]}) as port:
            with pytest.raises(ShutOutError, match="refused us: Not authorized"):
                async with linked(port, protocol=protocol):
                    pass

    run(test())


def test_a_refused_subscription_is_an_error() -> None:
    async def test() -> None:
        answers = {1: [b"\x20\x02\x00\x00"], 8: [b"\x90\x03\x00\x01\x80"]}
        async with (
            scripted_broker(answers) as port,
            linked(port, protocol="3.1.1") as link,
        ):
            with pytest.raises(TransportError, match="refused the subscription"):
                await link.subscribe("secret/#")

    run(test())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_traffic_is_what_a_proxy_on_the_way_counts(
    broker_port: int, protocol: str
) -> None:
    async def test() -> None:
        async with CountingProxy(broker_port) as proxy:
            async with linked(proxy.port, protocol=protocol) as link:
                name, events = topic(), link.events()
                await until(events, Connected)
                await link.subscribe(name)
                for size in (10, 5_000, 100_000):
                    await link.publish(name, bytes(size))
                    await until(events, Received)
                assert link.traffic == Traffic(proxy.up, proxy.down)
                proxy.cut()
                await until(events, Disconnected)
                came = await until(events, Connected)
                assert (came.conn, came.protocol) == (2, protocol)
                await link.publish(name, bytes(1_000))
                await until(events, Received)
                assert abs(link.traffic.bytes_sent - proxy.up) <= 8
                assert abs(link.traffic.bytes_received - proxy.down) <= 8
            assert abs(link.traffic.bytes_sent - proxy.up) <= 8
            assert link.traffic.bytes_sent > 105_000

    run(test())


@pytest.mark.parametrize(("protocol", "counted"), [("5", 0), ("3.1.1", 1)])
def test_an_oversize_payload_is_dropped_and_the_link_goes_on(
    broker_port: int, protocol: str, counted: int
) -> None:
    async def test() -> None:
        changes = {"protocol": protocol, "max_payload_bytes": 10_000}
        async with linked(broker_port) as peer, linked(broker_port, **changes) as link:
            name, events = topic(), link.events()
            await link.subscribe(name)
            for payload in (bytes(20_000), bytes(10_000)):
                await peer.publish(name, payload)
            assert (await until(events, Received)).payload == bytes(10_000)
            # MQTT 5 brokers hold it back themselves, being told the limit.
            assert link.oversize_dropped == counted

    run(test())


@given(failures=st.integers(0, 10_000))
def test_waiting_grows_from_half_a_second_to_ten(failures: int) -> None:
    assert 0.5 <= retry_ceiling_s(failures) <= retry_ceiling_s(failures + 1) <= 10.0
    assert retry_ceiling_s(7) == 10.0
    assert retry_ceiling_s(failures, shut_out=True) == 60.0
