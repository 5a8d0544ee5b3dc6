"""The inbox: everything that happens to the server, in one line."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from broker_server import patience, round_events
from broker_server.merger import Hindered
from wire_protocol.link import Link, LinkEvent


@dataclass(frozen=True, slots=True)
class Stopped:
    """The server is told to end."""


Happening: TypeAlias = (
    LinkEvent | round_events.Event | patience.Wakeup | Hindered | Stopped
)


class Inbox:
    """What happened and has not been handled; one reader."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Happening] = asyncio.Queue()

    def put(self, happening: Happening) -> None:
        """Add what happened now."""
        self._queue.put_nowait(happening)

    async def next(self) -> Happening:
        """Wait for the next happening."""
        return await self._queue.get()

    def present(self) -> Iterator[Happening]:
        """Yield what has arrived by now, and not what arrives meanwhile."""
        for _ in range(self._queue.qsize()):
            yield self._queue.get_nowait()

    async def listen(self, link: Link) -> None:
        """Put in what happens on ``link``, until it is closed."""
        async for event in link.events():
            self.put(event)

    async def await_stop(self, stop: asyncio.Event) -> None:
        """Put in that the server is told to end, once ``stop`` is set."""
        await stop.wait()
        self.put(Stopped())
