"""Fetching blobs: the device asks, block by block, until the digest is right."""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field

from wire_protocol.blobs import BlobRef, Block, Need
from wire_protocol.errors import DecodeError, Reason, TransportError
from wire_protocol.framing import expect, frame
from wire_protocol.link import Link
from wire_protocol.messages import ServerInfo
from wire_protocol.topics import Topics
from wire_protocol.transfer import Assembly


@dataclass(slots=True)
class _Download:
    """A blob under way; ``news`` is set by every block that fits."""

    assembly: Assembly
    news: asyncio.Event = field(default_factory=asyncio.Event)
    blob: bytes | None = None


class Fetcher:
    """Downloads over one link. Blocks are handed to ``receive`` as they come."""

    def __init__(self, link: Link, *, topics: Topics, device: str) -> None:
        self._link = link
        self._topics = topics
        self._device = device
        self._downloads: dict[str, _Download] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self.bytes_fetched = 0
        """Bytes of all blobs that came whole."""
        self.dropped: Counter[Reason] = Counter()
        """Blocks that were thrown away, by reason."""

    async def fetch(self, ref: BlobRef, *, info: ServerInfo, max_bytes: int) -> bytes:
        """Return the blob ``ref``, however long that takes.

        What is lacking is asked for again after ``info.resend_s`` without news, or
        with the link down.

        Raises:
            DecodeError: The blob is larger than ``max_bytes``.
        """
        download = _Download(
            Assembly(ref, block_bytes=info.block_bytes, max_bytes=max_bytes)
        )
        self._downloads[ref.sha256] = download
        need_topic = self._topics.device(self._device, "need")
        try:
            while download.blob is None:
                need = frame(Need(ref, download.assembly.missing()))
                with contextlib.suppress(TransportError):
                    await self._link.subscribe(self._topics.blocks(ref.sha256))
                    await self._link.publish(need_topic, need)
                await self._quiet(download, seconds=info.resend_s)
        finally:
            if self._downloads.get(ref.sha256) is download:
                del self._downloads[ref.sha256]
            # Nobody waits for it: training can begin meanwhile.
            chore = asyncio.create_task(self._unsubscribe(ref.sha256))
            self._chores.add(chore)
            chore.add_done_callback(self._chores.discard)
        self.bytes_fetched += ref.size
        return download.blob

    async def _unsubscribe(self, sha256: str) -> None:
        if sha256 not in self._downloads:  # a newer fetch may want it again
            with contextlib.suppress(TransportError):
                await self._link.unsubscribe(self._topics.blocks(sha256))

    async def _quiet(self, download: _Download, *, seconds: float) -> None:
        """Return when the blob is whole, or nothing came for ``seconds``."""
        with contextlib.suppress(TimeoutError):
            while download.blob is None:
                async with asyncio.timeout(seconds):
                    await download.news.wait()
                download.news.clear()

    def receive(self, payload: bytes) -> None:
        """Take one block from the network; what does not fit is counted and dropped."""
        try:
            block, body = expect(Block, payload)
            download = self._downloads.get(block.blob.sha256)
            if download is None or download.blob is not None:
                self.dropped[Reason.DUPLICATE] += 1
                return
            download.blob = download.assembly.add(block, body)
        except DecodeError as error:
            self.dropped[error.reason] += 1
        else:
            download.news.set()
