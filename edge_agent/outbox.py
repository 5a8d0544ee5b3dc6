"""The outbox on the wire: an update is sent again and again until it is receipted."""

import asyncio
from collections.abc import Callable

from edge_agent.reporting import send_until_cancelled
from wire_protocol.link import Link
from wire_protocol.messages import ServerInfo
from wire_protocol.topics import Topics


class Outbox:
    """Sends one update at a time; cancelling ``send`` ends it."""

    def __init__(
        self,
        link: Link,
        *,
        topics: Topics,
        device: str,
        jitter: Callable[[], float],
    ) -> None:
        self._link = link
        self._topics = topics
        self._device = device
        self._jitter = jitter
        self._again = asyncio.Event()
        self.beginnings = 0
        """How often sending began, or began anew."""

    async def send(self, update: bytes, *, info: ServerInfo) -> None:
        """Send ``update``, at growing intervals, until cancelled."""
        while True:
            self._again.clear()
            self.beginnings += 1
            sending = send_until_cancelled(
                self._link,
                update,
                topics=self._topics,
                device=self._device,
                info=info,
                jitter=self._jitter,
            )
            tasks = {
                asyncio.create_task(sending),
                asyncio.create_task(self._until_nudged()),
            }
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.result()  # a defect must not look like a nudge

    def nudge(self) -> None:
        """Send again now: the other side may have forgotten what it had."""
        self._again.set()

    async def _until_nudged(self) -> None:
        await self._again.wait()
