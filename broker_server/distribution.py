"""Distribution: blocks of blobs for the devices that asked, each published once.

Needs are gathered while they keep coming, then every wanted block goes out once, for
all who wait, in bursts of bounded size. Then there is a rest: who was served
unsubscribes, and needs that come a little later are served together. Every copy of a
block reaches all who subscribed, so a hasty answer to one costs the others the bytes.
Which blocks of a blob go out is for its ``Carousel`` to say.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from broker_server.carousel import Carousel, Pace
from wire_protocol.blobs import BlobRef, Need
from wire_protocol.cutting import Cut, Listing, block_frame, wanted_blocks
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.topics import Topics

BURST_BLOCKS: Final = 16
LARGE_BYTES: Final = 1024 * 1024
"""Hashing more than this would hold up the event loop."""
DEFAULT_PACE: Final = Pace()
Send: TypeAlias = Callable[[str, bytes], Awaitable[None]]
"""Publishes a payload on a topic."""


class Distribution:
    """The blobs on offer and the blocks of them that devices wait for.

    ``check_limits`` raises ``DecodeError`` where a device may not have that many bytes
    sent to it now.
    """

    def __init__(
        self,
        topics: Topics,
        send: Send,
        *,
        block_bytes: int,
        resend_s: float,
        pace: Pace = DEFAULT_PACE,
        clock: Callable[[], float] = time.monotonic,
        check_limits: Callable[[str, int], None] = lambda _device, _size: None,
    ) -> None:
        self._topics = topics
        self._publish = send
        self._pace = pace
        self._block_bytes = block_bytes
        self._resend_s = resend_s
        self._clock = clock
        self._check_limits = check_limits
        self._blobs: Mapping[str, bytes] = {}
        self._listings: dict[str, Listing] = {}
        # in the order of first needs: who asked first is served first
        self._carousels: dict[str, Carousel] = {}
        self._asked = asyncio.Event()

    def offer(self, blobs: Mapping[str, bytes]) -> None:
        """Replace the blobs that devices may ask for, by digest."""
        self._blobs = blobs
        for digest in self._carousels.keys() - blobs.keys():
            del self._carousels[digest]
        for digest in self._listings.keys() - blobs.keys():
            del self._listings[digest]

    def recut(self, block_bytes: int) -> None:
        """Cut into blocks of another size: a broker may take no larger ones.

        Devices that are receiving begin anew, with the list of hashes.
        """
        if block_bytes != self._block_bytes:
            self._block_bytes = block_bytes
            self._carousels.clear()
            self._listings.clear()

    def ask(self, need: Need, *, device: str) -> None:
        """Note what ``device`` lacks.

        Raises:
            DecodeError: No such blob is on offer, for a device may be a version behind;
                or it asks for more than it may.
        """
        digest = need.blob.sha256
        blob = self._blobs.get(digest)
        if blob is None or len(blob) != need.blob.size:
            raise DecodeError(
                f"blob {digest[:12]} is not on offer", reason=Reason.FETCH_FAILED
            )
        count = Cut(len(blob), self._block_bytes).count
        wanted = wanted_blocks(need.wanted, count=count)
        self._check_limits(device, (len(wanted) + need.hashes) * self._block_bytes)
        if digest not in self._carousels:
            self._carousels[digest] = Carousel(
                count, pace=self._pace, resend_s=self._resend_s
            )
        self._carousels[digest].ask(
            wanted,
            device=device,
            begins=need.hashes,
            now=self._clock(),
        )
        self._asked.set()

    async def run(self) -> None:
        """Serve needs until cancelled."""
        while True:
            await self._until_due()
            await self._gather()
            await self._serve()
            await asyncio.sleep(self._pace.rest_s)

    async def _until_due(self) -> None:
        due = [at for one in self._carousels.values() if (at := one.due()) is not None]
        wait_s = min(due) - self._clock() if due else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._asked.wait()

    async def _gather(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pace.most_s):
                while self._asked.is_set():
                    self._asked.clear()
                    async with asyncio.timeout(self._pace.quiet_s):
                        await self._asked.wait()

    async def _serve(self) -> None:
        """Publish what is due; what is asked for from now on waits for the next."""
        now = self._clock()
        sends: list[Callable[[], Coroutine[Any, Any, None]]] = []
        for digest, carousel in self._carousels.items():
            turn = carousel.take(now=now)
            if turn.listing:
                sends.append(partial(self._send_list, digest))
            sends += [partial(self._send, digest, index) for index in turn.blocks]
        for start in range(0, len(sends), BURST_BLOCKS):
            burst = sends[start : start + BURST_BLOCKS]
            await asyncio.gather(*(send() for send in burst))

    async def _send_list(self, digest: str) -> None:
        blob, block_bytes = self._blobs.get(digest), self._block_bytes
        if blob is None:  # withdrawn while it was waited for
            return
        listing = self._listings.get(digest)
        if listing is None:
            if len(blob) > LARGE_BYTES:
                listing = await asyncio.to_thread(
                    Listing.of, blob, block_bytes=block_bytes
                )
            else:
                listing = Listing.of(blob, block_bytes=block_bytes)
            if digest in self._blobs and block_bytes == self._block_bytes:
                self._listings[digest] = listing
        await self._publish(self._topics.block_list(digest), listing.frame)

    async def _send(self, digest: str, index: int) -> None:
        blob = self._blobs.get(digest)
        if blob is None:
            return
        count = Cut(len(blob), self._block_bytes).count
        if index < count:  # or cut anew meanwhile
            payload = block_frame(
                blob,
                BlobRef(digest, len(blob)),
                index=index,
                count=count,
                block_bytes=self._block_bytes,
            )
            await self._publish(self._topics.blocks(digest, index), payload)
