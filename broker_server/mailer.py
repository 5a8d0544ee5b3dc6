"""Mailer: publishes in order, without making a round wait for the broker."""

import asyncio
from typing import Final

from wire_protocol.errors import TransportError
from wire_protocol.link import Link

DRAIN_S: Final = 2.0


class Mailer:
    """Messages on their way to the broker.

    What is lost with a connection is not sent again from here: retained messages are
    published anew on ``Connected``, and devices repeat what got no answer.
    """

    def __init__(self, link: Link, group: asyncio.TaskGroup) -> None:
        self._link = link
        self._group = group
        self._sending: set[asyncio.Task[None]] = set()
        self.lost = 0
        """Messages that no broker acknowledged."""

    def post(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Begin to publish at QoS 1 and return at once."""
        # A defect in the link ends the task group, and with it the server.
        task = self._group.create_task(self.send(topic, payload, retain=retain))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait until it is acknowledged, or lost."""
        try:
            await self._link.publish(topic, payload, retain=retain)
        except TransportError:
            self.lost += 1

    async def drain(self) -> None:
        """Wait, within reason, until everything is acknowledged."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=DRAIN_S)
        for task in self._sending:
            task.cancel()
