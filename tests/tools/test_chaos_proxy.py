"""The proxy between two sockets of this test: what it passes, loses, doubles."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from tools.chaos.leftovers import free_port
from tools.chaos.packets import puback, publish
from tools.chaos.proxy import LOOPBACK, Proxy
from tools.chaos.weather import Weather

MESSAGES = [publish("t", bytes([n]), packet_id=n + 1) for n in range(50)]


@dataclass
class Ends:
    """Both ends of a connection through a proxy: a client's and a broker's."""

    proxy: Proxy
    client: asyncio.StreamReader
    to_client: asyncio.StreamWriter
    broker: asyncio.StreamReader
    to_broker: asyncio.StreamWriter

    def say(self, *packets: bytes) -> None:
        """Send as the client."""
        self.to_broker.write(b"".join(packets))

    def answer(self, *packets: bytes) -> None:
        """Send as the broker."""
        self.to_client.write(b"".join(packets))


@asynccontextmanager
async def connected(weather: Weather = Weather()) -> AsyncIterator[Ends]:  # noqa: B008 - frozen
    accepted: asyncio.Queue[Any] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda reader, writer: accepted.put_nowait((reader, writer)), LOOPBACK, 0
    )
    port = int(server.sockets[0].getsockname()[1])
    async with server, Proxy(port, weather=weather, rng=Random(1)) as proxy:
        client, to_broker = await asyncio.open_connection(LOOPBACK, proxy.port)
        broker, to_client = await accepted.get()
        try:
            yield Ends(proxy, client, to_client, broker, to_broker)
        finally:
            for writer in (to_broker, to_client):
                writer.transport.abort()


def run(test: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await test

    asyncio.run(limited())


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of a connection, in whatever way it comes."""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


def test_in_fair_weather_bytes_pass_both_ways_and_are_counted() -> None:
    async def test() -> None:
        async with connected() as ends:
            ends.say(*MESSAGES)
            up = b"".join(MESSAGES)
            assert await ends.broker.readexactly(len(up)) == up
            ends.answer(b"\x20\x02\x00\x00")
            assert await ends.client.readexactly(4) == b"\x20\x02\x00\x00"
            tally = ends.proxy.tally
            assert (tally.up, tally.down, tally.connections) == (len(up), 4, 1)
            assert (tally.lost, tally.doubled, tally.cuts) == (0, 0, 0)

    run(test())


def test_what_is_lost_is_acknowledged_to_its_sender_and_nobody_else_hears_of_it() -> (
    None
):
    async def test() -> None:
        async with connected(Weather(loss=1.0)) as ends:
            ends.say(MESSAGES[0], b"\xc0\x00")
            assert await ends.client.readexactly(4) == puback(1).raw
            assert await ends.broker.readexactly(2) == b"\xc0\x00"  # a ping passes
            ends.answer(MESSAGES[6], b"\xd0\x00")
            assert await ends.broker.readexactly(4) == puback(7).raw
            assert await ends.client.readexactly(2) == b"\xd0\x00"
            assert ends.proxy.tally.lost == 2

    run(test())


def test_what_is_lost_without_acknowledgement_is_just_gone() -> None:
    async def test() -> None:
        async with connected(Weather(loss=1.0)) as ends:
            ends.say(publish("t", b"x"), b"\xc0\x00")
            assert await ends.broker.readexactly(2) == b"\xc0\x00"

    run(test())


def test_a_doubled_message_comes_twice_and_is_acknowledged_once() -> None:
    async def test() -> None:
        async with connected(Weather(doubling=1.0)) as ends:
            ends.say(MESSAGES[0])
            first = await ends.broker.readexactly(len(MESSAGES[0]))
            again = await ends.broker.readexactly(len(MESSAGES[0]))
            assert (first, again[1:]) == (MESSAGES[0], MESSAGES[0][1:])
            ends.answer(puback(1).raw, puback(1).raw, b"\xd0\x00")
            assert await ends.client.readexactly(6) == puback(1).raw + b"\xd0\x00"

    run(test())


def test_a_part_of_the_messages_is_lost_as_the_seed_says() -> None:
    async def passed() -> bytes:
        async with connected(Weather(loss=0.3)) as ends:
            ends.say(*MESSAGES, b"\xe0\x00")
            ends.to_broker.write_eof()
            return await ends.broker.read()

    async def test() -> None:
        first, second = await passed(), await passed()
        assert first == second
        assert 0 < len(first) < len(b"".join(MESSAGES))

    run(test())


def test_a_delay_holds_every_message_for_its_time_and_keeps_their_order() -> None:
    async def test() -> None:
        clock = asyncio.get_running_loop().time
        async with connected(Weather(delay_s=0.2)) as ends:
            began = clock()
            ends.say(*MESSAGES)
            up = b"".join(MESSAGES)
            assert await ends.broker.readexactly(len(up)) == up
            assert clock() - began >= 0.2

    run(test())


def test_a_slow_link_takes_the_time_its_rate_says() -> None:
    async def test() -> None:
        clock = asyncio.get_running_loop().time
        async with connected(Weather(bytes_per_s=200_000)) as ends:
            began = clock()
            ends.say(publish("t", bytes(60_000)))
            await ends.broker.readexactly(60_000)
            assert clock() - began >= 0.29

    run(test())


def test_a_held_link_passes_nothing_until_it_is_released() -> None:
    async def test() -> None:
        async with connected() as ends:
            ends.proxy.hold()
            ends.say(MESSAGES[0])
            waiting = asyncio.ensure_future(ends.broker.readexactly(1))
            ends.answer(b"\xd0\x00")
            done, _ = await asyncio.wait({waiting}, timeout=0.1)
            assert not done
            ends.proxy.release()
            assert await waiting == MESSAGES[0][:1]
            assert await ends.client.readexactly(2) == b"\xd0\x00"

    run(test())


def test_a_cut_ends_both_sides_even_of_a_held_link() -> None:
    async def test() -> None:
        async with connected() as ends:
            ends.proxy.hold()
            ends.say(MESSAGES[0])
            ends.proxy.cut()
            assert await ended(ends.client)
            assert await ended(ends.broker)
            assert ends.proxy.tally.cuts == 1

    run(test())


def test_links_are_cut_by_themselves_when_the_weather_says_so() -> None:
    async def test() -> None:
        async with connected(Weather(cut_every_s=0.1)) as ends:
            assert await ended(ends.client)
            assert await ended(ends.broker)
            assert ends.proxy.tally.cuts == 1

    run(test())


def test_when_one_end_leaves_the_other_gets_its_last_words_and_the_end() -> None:
    async def test() -> None:
        async with connected(Weather(delay_s=0.05)) as ends:
            ends.say(b"\xe0\x00")
            ends.to_broker.close()
            assert await ends.broker.readexactly(2) == b"\xe0\x00"
            assert await ended(ends.broker)

    run(test())


def test_where_nobody_listens_behind_the_proxy_the_client_is_turned_away() -> None:
    async def test() -> None:
        async with Proxy(free_port(), weather=Weather(), rng=Random(1)) as proxy:
            client, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
            assert await ended(client)
            writer.close()

    run(test())


def test_bytes_that_are_no_mqtt_pass_in_any_weather() -> None:
    async def test() -> None:
        async with connected(Weather(loss=1.0, doubling=1.0)) as ends:
            noise = b"\x30\xff\xff\xff\xff" + bytes(range(256))
            ends.say(noise)
            assert await ends.broker.readexactly(len(noise)) == noise

    run(test())
