"""Distribution: blocks of blobs for the devices that asked, each published once.

Needs are gathered while they keep coming, then every wanted block goes out once, for
all who wait, in bursts of bounded size. Then there is a rest: who was served
unsubscribes, and needs that come a little later are served together. Every copy of a
block reaches all who subscribed, so a hasty answer to one costs the others the bytes.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from wire_protocol.blobs import BlobRef, Need
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.topics import Topics
from wire_protocol.transfer import block_count, block_frame, wanted_blocks

BURST_BLOCKS: Final = 16
Send: TypeAlias = Callable[[str, bytes], Awaitable[None]]
"""Publishes a payload on a topic."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient the server is before it answers, in seconds.

    Needs are gathered until none came for ``quiet_s``, but for ``most_s`` at most;
    after an answer the next one waits for ``rest_s``.
    """

    quiet_s: float = 0.01
    most_s: float = 0.06
    rest_s: float = 0.02


DEFAULT_PACE: Final = Pace()


class Distribution:
    """The blobs on offer and the blocks of them that devices wait for."""

    def __init__(
        self,
        topics: Topics,
        send: Send,
        *,
        block_bytes: int,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._topics = topics
        self._publish = send
        self._pace = pace
        self._block_bytes = block_bytes
        self._blobs: Mapping[str, bytes] = {}
        # a dict for its order: who asked first is served first
        self._wanted: dict[tuple[str, int], None] = {}
        self._asked = asyncio.Event()

    def offer(self, blobs: Mapping[str, bytes]) -> None:
        """Replace the blobs that devices may ask for, by digest."""
        self._blobs = blobs

    def ask(self, need: Need) -> None:
        """Note what a device lacks.

        Raises:
            DecodeError: No such blob is on offer; a device may be a version behind.
        """
        blob = self._blobs.get(need.blob.sha256)
        if blob is None or len(blob) != need.blob.size:
            raise DecodeError(
                f"blob {need.blob.sha256[:12]} is not on offer",
                reason=Reason.FETCH_FAILED,
            )
        count = block_count(len(blob), block_bytes=self._block_bytes)
        for index in wanted_blocks(need.wanted, count=count):
            self._wanted[need.blob.sha256, index] = None
        self._asked.set()

    async def run(self) -> None:
        """Serve needs until cancelled."""
        while True:
            await self._asked.wait()
            await self._gather()
            # what is asked for from now on waits for the next answer
            wanted, self._wanted = list(self._wanted), {}
            for start in range(0, len(wanted), BURST_BLOCKS):
                burst = wanted[start : start + BURST_BLOCKS]
                await asyncio.gather(*(self._send(*key) for key in burst))
            await asyncio.sleep(self._pace.rest_s)

    async def _gather(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pace.most_s):
                while self._asked.is_set():
                    self._asked.clear()
                    async with asyncio.timeout(self._pace.quiet_s):
                        await self._asked.wait()

    async def _send(self, digest: str, index: int) -> None:
        blob = self._blobs.get(digest)
        if blob is None:  # withdrawn while it was waited for
            return
        payload = block_frame(
            blob,
            BlobRef(digest, len(blob)),
            index=index,
            count=block_count(len(blob), block_bytes=self._block_bytes),
            block_bytes=self._block_bytes,
        )
        await self._publish(self._topics.blocks(digest, index), payload)
