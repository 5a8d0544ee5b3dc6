"""A proxy before a broker that makes the network bad: it delays, loses, doubles, cuts.

TCP on loopback. It reads MQTT packets, so that what it loses or doubles is a whole
message, as a broker would. Like a broker it acknowledges what it then loses, so that
the sender's window does not fill up; and of a doubled message the sender sees one
acknowledgement. Everything random comes from the generator it is given.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Final, Self, TypeAlias

from tools.chaos.packets import PUBACK, PUBLISH, Packet, PacketSplitter, puback
from tools.chaos.weather import Weather

Count: TypeAlias = Callable[[int], None]
LOOPBACK: Final = "127.0.0.1"
_SLICE_BYTES: Final = 4096
_BACKLOG_BYTES: Final = 1 << 20
_SLOW_BACKLOG_BYTES: Final = 64 * 1024
"""A slow link takes little in advance, or a cut would lose more than it should."""


@dataclass(slots=True)
class Tally:
    """What passed: ``up`` bytes to the broker, ``down`` bytes to its clients."""

    connections: int = 0
    cuts: int = 0
    lost: int = 0
    doubled: int = 0
    up: int = 0
    down: int = 0


class Proxy:
    """Passes bytes between clients and ``target_port``; an asynchronous context."""

    def __init__(
        self, target_port: int, *, weather: Weather, rng: Random, port: int = 0
    ) -> None:
        self.weather = weather
        self.tally = Tally()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._target_port = target_port
        self._port = port
        self._rng = rng
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self._port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self._port)
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    def hold(self) -> None:
        """Take bytes, but pass on none, until ``release``."""
        self.flowing.clear()

    def release(self) -> None:
        """Pass on what was held, and what comes."""
        self.flowing.set()

    def cut(self) -> None:
        """End every connection at once, whatever is on its way."""
        self.tally.cuts += len(self._serving)
        for task in self._serving:
            task.cancel()

    async def _serve(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        # a task of our own: asyncio logs it when the one it made is cancelled
        task = asyncio.ensure_future(self._join(client, to_client))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        await asyncio.wait({task})

    async def _join(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        writers = {to_client}
        ways: list[asyncio.Task[None]] = []
        self.tally.connections += 1
        try:
            target, to_target = await asyncio.open_connection(
                LOOPBACK, self._target_port
            )
            writers.add(to_target)
            up = Way(self, to_target, rng=Random(self._rng.random()))  # noqa: S311
            down = Way(self, to_client, rng=Random(self._rng.random()))  # noqa: S311
            up.back, down.back = down, up
            ways = [
                asyncio.create_task(way.run(source, count=count))
                for way, source, count in (
                    (up, client, self._count_up),
                    (down, target, self._count_down),
                )
            ]
            done, _ = await asyncio.wait(
                ways, timeout=self._lifetime_s(), return_when=asyncio.FIRST_COMPLETED
            )
            self.tally.cuts += not done
        except OSError:
            return  # the target is down: so are we, for this client
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for writer in writers:
                writer.transport.abort()

    def _lifetime_s(self) -> float | None:
        mean = self.weather.cut_every_s
        return None if mean is None else mean * self._rng.uniform(0.5, 1.5)

    def _count_up(self, count: int) -> None:
        self.tally.up += count

    def _count_down(self, count: int) -> None:
        self.tally.down += count


class Way:
    """One direction of a connection: packets in, what is left of them out."""

    back: "Way"
    """The other direction of the same connection."""

    def __init__(
        self, proxy: Proxy, sink: asyncio.StreamWriter, *, rng: Random
    ) -> None:
        self._proxy = proxy
        self._sink = sink
        self._rng = rng
        self._splitter = PacketSplitter()
        self._queue: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue()
        self._backlog = 0
        self._room = asyncio.Event()
        self._doubled: set[int] = set()
        self._surplus: set[int] = set()
        self._clock = asyncio.get_running_loop().time
        self._free_at = 0.0

    async def run(self, source: asyncio.StreamReader, *, count: Count) -> None:
        """Pass on what ``source`` brings, until either end is closed."""
        reading = asyncio.create_task(self._read(source))
        try:
            with contextlib.suppress(OSError):
                await self._write(count)
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _read(self, source: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_SLICE_BYTES * 16):
                for piece in self._splitter.feed(data):
                    self._take(piece)
                while self._backlog > self._most():
                    self._room.clear()
                    await self._room.wait()
        self._queue.put_nowait((0.0, None))

    def _most(self) -> int:
        slow = self._proxy.weather.bytes_per_s is not None
        return _SLOW_BACKLOG_BYTES if slow else _BACKLOG_BYTES

    def _take(self, piece: Packet | bytes) -> None:
        """Decide what becomes of ``piece``."""
        if isinstance(piece, bytes):
            self._put(piece)
            return
        if piece.kind == PUBLISH and piece.qos < 2:
            self._publish(piece)
        elif piece.kind == PUBACK and self._is_surplus(piece.packet_id):
            return
        else:
            self._put(piece.raw)

    def _publish(self, packet: Packet) -> None:
        weather, tally = self._proxy.weather, self._proxy.tally
        number = packet.packet_id
        whole = number is not None or not packet.qos
        if whole and self._rng.random() < weather.loss:
            tally.lost += 1
            if number is not None:
                self.back.insert(puback(number).raw)
            return
        self._put(packet.raw)
        if whole and self._rng.random() < weather.doubling:
            tally.doubled += 1
            if number is not None:
                self.back.expect_twice(number)
            copy = packet.again().raw
            if self._rng.random() < 0.5 or not weather.lag_s:
                self._put(copy)
            else:
                lag_s = self._rng.uniform(0.0, weather.lag_s)
                asyncio.get_running_loop().call_later(lag_s, self._put, copy)

    def insert(self, data: bytes) -> None:
        """Send ``data`` this way, as if its source had."""
        self._put(data)

    def expect_twice(self, number: int) -> None:
        """Keep the second acknowledgement of ``number`` from going on."""
        self._doubled.add(number)

    def _is_surplus(self, number: int | None) -> bool:
        if number in self._surplus:
            self._surplus.remove(number)
            return True
        if number in self._doubled:
            self._doubled.remove(number)
            self._surplus.add(number)
        return False

    def _put(self, data: bytes) -> None:
        self._backlog += len(data)
        self._queue.put_nowait((self._clock() + self._proxy.weather.delay_s, data))

    async def _write(self, count: Count) -> None:
        while True:
            due, data = await self._queue.get()
            if data is None:
                break
            await self._until(due)
            for start in range(0, len(data), _SLICE_BYTES):
                piece = data[start : start + _SLICE_BYTES]
                await self._pace(len(piece))
                await self._proxy.flowing.wait()
                self._sink.write(piece)
                await self._sink.drain()
                count(len(piece))
                self._backlog -= len(piece)
                self._room.set()
        self._sink.close()
        await self._sink.wait_closed()

    async def _pace(self, size: int) -> None:
        rate = self._proxy.weather.bytes_per_s
        if rate is not None:
            self._free_at = max(self._free_at, self._clock()) + size / rate
            await self._until(self._free_at)

    async def _until(self, due: float) -> None:
        wait_s = due - self._clock()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
