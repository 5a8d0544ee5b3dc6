"""Sending: an update on its way up, until the server's receipt ends it.

An update of one block is published, and published again at growing intervals. A larger
one is announced instead: the server answers with what it needs, a window at a time,
and gets exactly that; what it has, it has, even from before a restart.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from wire_protocol.blobs import Need
from wire_protocol.cutting import (
    Listing,
    blob_ref,
    block_count,
    block_frame,
    transfer_id,
    wanted_blocks,
)
from wire_protocol.errors import TransportError
from wire_protocol.link import Link
from wire_protocol.topics import Topics

MAX_RESEND_S: Final = 60.0


class Sender:
    """One update of ``device``.

    ``block_bytes`` is looked up at each announcement, since another broker may take
    less; ``jitter`` draws from [0, 1).
    """

    def __init__(
        self,
        link: Link,
        update: bytes,
        *,
        topics: Topics,
        device: str,
        block_bytes: Callable[[], int],
        resend_s: float,
        jitter: Callable[[], float],
    ) -> None:
        self._link = link
        self._update = update
        self._ref = blob_ref(update)
        self._topic = topics.device(device, "up", transfer_id(self._ref))
        self._find_block_bytes = block_bytes
        self._block_bytes = 0
        self._count = 0
        self._resend_s = resend_s
        self._jitter = jitter
        self._wanted: dict[int, None] = {}
        self._repeat = False
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Send until cancelled.

        PUBACK is the broker's word, not the server's: only a receipt ends this, and it
        does so by cancelling the call.
        """
        interval_s = self._resend_s
        while True:
            self._repeat = False
            try:
                await self._begin()
                answered = await self._answer(interval_s)
            except TransportError:
                self._wanted.clear()  # the server asks again for what it lacks
                interval_s = self._resend_s  # nothing arrived: nobody is overloaded
                await self._wait(interval_s)
            else:
                interval_s = min(2 * interval_s, MAX_RESEND_S)
                interval_s = self._resend_s if answered else interval_s

    def take(self, need: Need) -> None:
        """Send what the server needs, if it is of this update."""
        if need.blob != self._ref:
            return
        self._wanted |= dict.fromkeys(wanted_blocks(need.wanted, count=self._count))
        self._repeat = self._repeat or need.hashes
        self._woken.set()

    def nudge(self) -> None:
        """Send, or announce, again now: there is reason to think that it helps."""
        self._repeat = True
        self._woken.set()

    async def _begin(self) -> None:
        self._block_bytes = self._find_block_bytes()
        self._count = block_count(self._ref.size, block_bytes=self._block_bytes)
        if self._count == 1:
            await self._send(0)
            return
        listing = Listing.of(self._update, block_bytes=self._block_bytes)
        await self._link.publish(f"{self._topic}/m", listing.frame)

    async def _answer(self, interval_s: float) -> bool:
        """Answer needs until none came for ``interval_s``; return whether one did."""
        answered = False
        while await self._wait(interval_s) and not self._repeat:
            while self._wanted:
                index = next(iter(self._wanted))
                await self._send(index)
                self._wanted.pop(index, None)
            answered, interval_s = True, self._resend_s
        return answered

    async def _wait(self, seconds: float) -> bool:
        """Wait to be woken; return False if that took too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds * (0.75 + self._jitter() / 2)):
                await self._woken.wait()
            self._woken.clear()
            return True
        return False

    async def _send(self, index: int) -> None:
        payload = block_frame(
            self._update,
            self._ref,
            index=index,
            count=self._count,
            block_bytes=self._block_bytes,
        )
        await self._link.publish(f"{self._topic}/b/{index}", payload)
