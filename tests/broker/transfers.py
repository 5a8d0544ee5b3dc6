"""Both ends of a block transfer on real links, with nothing around them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from broker_server.distribution import Distribution
from broker_server.embedded_broker import LOOPBACK
from broker_server.uplink import Uplink
from edge_agent.fetching import Fetcher
from edge_agent.sending import Sender
from wire_protocol.blobs import BlobRef, Need
from wire_protocol.cutting import block_bytes_within
from wire_protocol.errors import DecodeError, TransportError
from wire_protocol.framing import expect, frame
from wire_protocol.link import Connected, Link, LinkEvent, LinkSettings, Received
from wire_protocol.messages import ServerInfo
from wire_protocol.mqtt import MqttLink
from wire_protocol.topics import Topics

TOPICS = Topics("transfers")
WINDOW = 4
LIMIT = 1 << 26


def linked(port: int, identity: str) -> MqttLink:
    """Return a link that comes back at once."""
    settings = LinkSettings(LOOPBACK, port, identity=identity)
    return MqttLink(settings, fail_fast=True, jitter=lambda: 0.02)


class ServerEnd:
    """Offers blobs and takes updates."""

    def __init__(
        self, link: Link, *, block_bytes: int, parts: Path, resend_s: float
    ) -> None:
        self._link = link
        self._configured = self.block_bytes = block_bytes
        self.needs: list[Need] = []
        self.connections = 0
        self.connected = asyncio.Event()
        self.updates: asyncio.Queue[bytes] = asyncio.Queue()
        self.blocks = 0
        """Blocks of updates that came."""
        self.come = asyncio.Event()
        self.distribution = Distribution(
            TOPICS, self._publish, block_bytes=block_bytes, resend_s=resend_s
        )
        self._parts = parts
        self._resend_s = resend_s
        self.restart()

    def restart(self) -> None:
        """Forget all that is not on the disk."""
        self.uplink = Uplink(
            self._parts, window=WINDOW, max_bytes=LIMIT, admits=lambda _: True
        )

    @property
    def info(self) -> ServerInfo:
        """What devices are told."""
        return ServerInfo(self.block_bytes, WINDOW, "none", self._resend_s)

    async def _publish(self, topic: str, payload: bytes) -> None:
        await self._link.publish(topic, payload)

    async def take(self, event: LinkEvent) -> None:
        """Do what the server's shell does."""
        if isinstance(event, Connected):
            self.connections += 1
            self.connected.set()
            self.block_bytes = block_bytes_within(
                self._configured, event.max_packet_bytes
            )
            self.distribution.recut(self.block_bytes)
        if not isinstance(event, Received):
            return
        match TOPICS.levels(event.topic):
            case ("d", device, "need"):
                need, _ = expect(Need, event.payload)
                self.needs.append(need)
                self.distribution.ask(need, device=device)
            case ("d", device, "up", transfer, *rest):
                if rest == ["m"]:
                    step = self.uplink.announce(device, transfer, payload=event.payload)
                else:
                    step = self.uplink.add(device, transfer, payload=event.payload)
                    self.blocks += 1
                    self.come.set()
                if step.need is not None:
                    topic = TOPICS.device(device, "cmd", "need")
                    await self._link.publish(topic, frame(step.need))
                if step.blob is not None:
                    self.updates.put_nowait(step.blob)


@asynccontextmanager
async def server_end(
    link: Link, *, block_bytes: int, parts: Path, resend_s: float = 1.0
) -> AsyncIterator[ServerEnd]:
    """Serve on ``link`` until the block ends."""
    end = ServerEnd(link, block_bytes=block_bytes, parts=parts, resend_s=resend_s)
    for rest in (("need",), ("up", "+", "m"), ("up", "+", "b", "+")):
        await link.subscribe(TOPICS.device("+", *rest))

    async def read() -> None:
        async for event in link.events():
            # the real shell counts these, and goes on
            with contextlib.suppress(DecodeError, TransportError):
                await end.take(event)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(read()), group.create_task(end.distribution.run())]
        await end.connected.wait()
        yield end
        for task in tasks:
            task.cancel()


class DeviceEnd:
    """Fetches blobs and sends updates."""

    def __init__(self, link: Link, name: str, *, parts: Path) -> None:
        self._link = link
        self.name = name
        self._parts = parts
        self.max_packet_bytes: int | None = None
        self.sender: Sender | None = None
        self.connections = 0
        self.connected = asyncio.Event()
        self.blocks = 0
        """Blocks of blobs that came."""
        self.come = asyncio.Event()
        self.restart()

    def restart(self) -> None:
        """Forget all that is not on the disk."""
        self.fetcher = Fetcher(
            self._link,
            topics=TOPICS,
            device=self.name,
            parts=self._parts,
            jitter=lambda: 0.5,
        )

    async def fetch(self, ref: BlobRef, info: ServerInfo) -> bytes:
        """Fetch a blob."""
        return await self.fetcher.fetch(ref, info=info, max_bytes=LIMIT)

    def sending(self, update: bytes, info: ServerInfo) -> Sender:
        """Return the sender of an update."""
        self.sender = Sender(
            self._link,
            update,
            topics=TOPICS,
            device=self.name,
            block_bytes=lambda: block_bytes_within(
                info.block_bytes, self.max_packet_bytes
            ),
            resend_s=info.resend_s,
            jitter=lambda: 0.5,
        )
        return self.sender

    def take(self, event: LinkEvent) -> None:
        """Do what the agent's shell does."""
        if isinstance(event, Connected):
            self.connections += 1
            self.connected.set()
            self.max_packet_bytes = event.max_packet_bytes
            self.fetcher.reconnected()
            if self.sender is not None:
                self.sender.nudge()
        if not isinstance(event, Received):
            return
        match TOPICS.levels(event.topic):
            case ("blob", _, "m"):
                self.fetcher.receive(event.payload)
            case ("blob", _, "b", _):
                self.fetcher.receive(event.payload)
                self.blocks += 1
                self.come.set()
            case ("d", _, "cmd", "need") if self.sender is not None:
                self.sender.take(expect(Need, event.payload)[0])


@asynccontextmanager
async def device_end(link: Link, name: str, *, parts: Path) -> AsyncIterator[DeviceEnd]:
    """Take part on ``link`` until the block ends."""
    end = DeviceEnd(link, name, parts=parts)
    await link.subscribe(TOPICS.device(name, "cmd", "need"))

    async def read() -> None:
        async for event in link.events():
            end.take(event)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(read())
        await end.connected.wait()
        yield end
        task.cancel()


async def until_blocks(end: ServerEnd | DeviceEnd, count: int) -> None:
    """Wait until ``count`` blocks have come to ``end``."""
    while end.blocks < count:
        end.come.clear()
        await end.come.wait()
