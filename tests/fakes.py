"""A broker in memory, and links to it that can be cut: the real protocol, no sockets.

Retained messages, wills and ``+`` filters are as a broker has them; delivery is at once
and in order, as on a quiet network.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from wire_protocol.errors import TransportError
from wire_protocol.link import (
    Connected,
    Disconnected,
    LinkEvent,
    Received,
    Traffic,
    Will,
)

PACKET_BYTES = 8
"""Roughly what MQTT adds to topic and payload."""


class MemoryBroker:
    """Keeps retained messages and passes everything on."""

    def __init__(self) -> None:
        self.links: list[MemoryLink] = []
        self.retained: dict[str, bytes] = {}
        self.published: list[tuple[str, bytes]] = []
        self.max_packet_bytes: int | None = None
        self.loses: Callable[[str], bool] = lambda _: False
        """Whether a message on this topic is acknowledged and then lost."""
        self._changed = asyncio.Condition()

    def link(
        self, *, will: Will | None = None, first_connection: int = 1
    ) -> "MemoryLink":
        """Return a new, connected link."""
        link = MemoryLink(self, will=will, first_connection=first_connection)
        self.links.append(link)
        link.restore()
        return link

    def forget(self) -> None:
        """Lose everything that is kept and every connection, as after kill -9."""
        self.retained.clear()
        for link in list(self.links):
            link.cut(will=False)

    def deliver(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        conn: int | None = None,
    ) -> None:
        """Publish ``payload`` to every link that subscribed."""
        self.published.append((topic, payload))
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        if self.loses(topic):
            return
        for link in self.links:
            link.hear(topic, payload, conn=conn)
        self._notify = asyncio.ensure_future(self._tell())

    async def until(
        self, condition: Callable[[], bool], *, within_s: float = 20
    ) -> None:
        """Wait until ``condition``, looked at after every message, holds."""
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(condition)

    def count(self, topic_filter: str) -> int:
        """Return how many messages were published on matching topics."""
        return len(self.sent(topic_filter))

    def sent(self, topic_filter: str) -> list[bytes]:
        """Return the payloads published on matching topics, in order."""
        return [body for topic, body in self.published if matches(topic_filter, topic)]

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class MemoryLink:
    """A ``Link`` to a ``MemoryBroker``."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        will: Will | None = None,
        first_connection: int = 1,
    ) -> None:
        self._broker = broker
        self._will = will
        self._connected = False
        self._connections = first_connection - 1
        self._sent = 0
        self._received = 0
        self.filters: set[str] = set()
        self._events: asyncio.Queue[LinkEvent | None] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cut()
        self._events.put_nowait(None)

    def cut(self, *, will: bool = True) -> None:
        """Lose the connection: the broker publishes the will, unless it is gone too."""
        if self._connected:
            self._connected = False
            self._events.put_nowait(Disconnected("cut by the test"))
            if self._will is not None and will:
                self._broker.deliver(
                    self._will.topic,
                    self._will.payload,
                    retain=self._will.retain,
                    conn=self._connections,
                )

    def restore(self) -> None:
        """Connect (again): retained messages of all subscriptions come first."""
        self._connected = True
        self._connections += 1
        self._events.put_nowait(
            Connected(self._connections, "5", self._broker.max_packet_bytes)
        )
        for topic_filter in self.filters:
            self._hear_retained(topic_filter)

    def hear(self, topic: str, payload: bytes, *, conn: int | None = None) -> None:
        """Take a message from the broker, if it is wanted here."""
        if self._connected and any(matches(name, topic) for name in self.filters):
            self._receive(topic, payload, retained=False, conn=conn)

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False
    ) -> None:
        """Publish at once."""
        del qos
        if not self._connected:
            raise TransportError("not connected")
        self._sent += len(topic) + len(payload) + PACKET_BYTES
        self._broker.deliver(topic, payload, retain=retain)

    async def subscribe(self, topic_filter: str, *, qos: int = 1) -> None:
        """Subscribe; retained messages come at once."""
        del qos
        self.filters.add(topic_filter)
        if self._connected:
            self._hear_retained(topic_filter)

    async def unsubscribe(self, topic_filter: str) -> None:
        """Forget a subscription."""
        self.filters.discard(topic_filter)

    async def events(self) -> AsyncIterator[LinkEvent]:
        """Yield what happens until the link is closed."""
        while (event := await self._events.get()) is not None:
            yield event

    @property
    def traffic(self) -> Traffic:
        """Bytes so far, without what TCP adds."""
        return Traffic(self._sent, self._received)

    def _hear_retained(self, topic_filter: str) -> None:
        for topic, payload in self._broker.retained.items():
            if matches(topic_filter, topic):
                self._receive(topic, payload, retained=True)

    def _receive(
        self, topic: str, payload: bytes, *, retained: bool, conn: int | None = None
    ) -> None:
        self._received += len(topic) + len(payload) + PACKET_BYTES
        self._events.put_nowait(Received(topic, payload, retained, conn))


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether an MQTT filter with ``+`` levels covers ``topic``."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    return len(wanted) == len(levels) and all(
        one in ("+", other) for one, other in zip(wanted, levels, strict=True)
    )
