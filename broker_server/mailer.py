"""Mailer: publishes in order, without making a round wait for the broker."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Final

from wire_protocol.errors import TransportError
from wire_protocol.link import Link

DRAIN_S: Final = 2.0
MAX_REPEAT_S: Final = 60.0
_log = logging.getLogger("edgefed.server")


class Mailer:
    """Messages on their way to the broker.

    What is lost with a connection is not sent again from here: retained messages are
    published anew on ``Connected``, and devices repeat what got no answer.
    """

    def __init__(self, link: Link, group: asyncio.TaskGroup) -> None:
        self._link = link
        self._group = group
        self._sending: set[asyncio.Task[None]] = set()

    def post(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Begin to publish at QoS 1 and return at once."""
        # A defect in the link ends the task group, and with it the server.
        task = self._group.create_task(self.send(topic, payload, retain=retain))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def repeat(
        self, topic: str, payload: bytes, *, after_s: float
    ) -> asyncio.Task[None]:
        """Begin to publish something retained, again and again until cancelled."""
        return self._group.create_task(self._repeat(topic, payload, after_s=after_s))

    async def _repeat(self, topic: str, payload: bytes, *, after_s: float) -> None:
        while True:
            await self.send(topic, payload, retain=True)
            await asyncio.sleep(after_s)
            after_s = min(2 * after_s, MAX_REPEAT_S)

    async def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait until it is acknowledged, or lost."""
        with contextlib.suppress(TransportError):
            await self._link.publish(topic, payload, retain=retain)

    async def subscribe(self, filters: Iterable[str]) -> None:
        """Subscribe now, or when the link comes back."""
        for topic_filter in filters:
            try:
                await self._link.subscribe(topic_filter)
            except TransportError as error:  # the link tries again by itself
                _log.warning("%s", error)

    async def drain(self) -> None:
        """Wait, within reason, until everything is acknowledged."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=DRAIN_S)
        for task in self._sending:
            task.cancel()
