"""Fetching blobs: the device asks, a window at a time, until the digest is right.

A blob of one block is asked for and kept in memory. A larger one goes to part files as
it comes, so that a device that was killed asks only for what it lacks.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from random import SystemRandom
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from edge_agent.download import Download
from wire_protocol.blobs import BlobRef, Block, BlockList, Need
from wire_protocol.cutting import Listing, bitmap
from wire_protocol.errors import DecodeError, Reason, TransportError
from wire_protocol.framing import Frame, frame, parse_frame
from wire_protocol.link import Link
from wire_protocol.messages import ServerInfo
from wire_protocol.part_files import PartFolder, collect_stale
from wire_protocol.topics import Topics

MAX_PATIENCE_S: Final = 60.0
STALE_S: Final = 3 * 24 * 3600.0
"""How long a part that nobody asks for any more is kept, in case somebody will."""
STALE_BYTES: Final = 64 * 1024 * 1024
"""How much of the disk all parts may take before the oldest goes."""
_SYSTEM_JITTER: Final = SystemRandom().random

T = TypeVar("T")


class Fetcher:
    """Downloads over one link. Blocks and lists are handed to ``receive`` as they come.

    Without ``parts``, a folder, nothing survives the process. ``jitter`` draws from
    [0, 1).
    """

    def __init__(
        self,
        link: Link,
        *,
        topics: Topics,
        device: str,
        parts: Path | None = None,
        jitter: Callable[[], float] = _SYSTEM_JITTER,
    ) -> None:
        self._link = link
        self._topics = topics
        self._device = device
        self._parts = None if parts is None else PartFolder(parts)
        self._jitter = jitter
        self._downloads: dict[str, Download] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._chores: set[asyncio.Task[None]] = set()
        self.bytes_fetched = 0
        """Bytes of all blobs that came whole."""
        self.dropped: Counter[Reason] = Counter()
        """Blocks that were thrown away, by reason."""

    @property
    def bytes_written(self) -> int:
        """Bytes that went to part files."""
        return self._parts.bytes_written if self._parts else 0

    async def fetch(self, ref: BlobRef, *, info: ServerInfo, max_bytes: int) -> bytes:
        """Return the blob ``ref``, however long that takes.

        What is lacking is asked for again after ``info.resend_s`` without news, and at
        growing intervals.

        Raises:
            DecodeError: The blob is larger than ``max_bytes``.
            DiskFullError: There is no room for its part file.
            RefusedError: The folder for part files cannot be used.
        """
        async with self._downloading(ref, info=info, max_bytes=max_bytes) as download:
            content = await self._arrived(download, download.content, info=info)
            download.discard()
        self.bytes_fetched += ref.size
        return content

    async def fetch_file(
        self,
        ref: BlobRef,
        path: Path,
        *,
        info: ServerInfo,
        max_bytes: int,
        write: Callable[[Path, bytes], None],
    ) -> None:
        """Make the blob ``ref`` the file ``path``, in the file system of the parts.

        Never is more than a block of it in memory; one of a single block has no part
        file and is given to ``write``.

        Raises:
            DecodeError, DiskFullError, RefusedError: As ``fetch``.
        """
        async with self._downloading(ref, info=info, max_bytes=max_bytes) as download:
            await self._arrived(download, download.check, info=info)
            if not download.move_to(path):
                write(path, await download.content())
        self.bytes_fetched += ref.size

    def receive(self, payload: bytes) -> None:
        """Take a block or a list; what does not fit is counted and dropped."""
        try:
            self._take(parse_frame(payload))
        except DecodeError as error:
            self.dropped[error.reason] += 1

    def _take(self, parsed: Frame) -> None:
        message = parsed.message
        if not isinstance(message, Block | BlockList):
            raise DecodeError(f"expected a block or a list, not {message.kind}")
        download = self._downloads.get(message.blob.sha256)
        if download is None or download.complete:
            self.dropped[Reason.DUPLICATE] += 1
        elif isinstance(message, Block):
            download.put(message, parsed.body)
        else:
            download.take_list(Listing(message, parsed.body))

    def reconnected(self) -> None:
        """Ask again for what was under way: it is lost with the connection."""
        for download in self._downloads.values():
            download.begin_again()

    # --- one download ---------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _downloading(
        self, ref: BlobRef, *, info: ServerInfo, max_bytes: int
    ) -> AsyncIterator[Download]:
        """Hold the one download of ``ref`` there is; another fetch of it waits."""
        lock = self._locks.setdefault(ref.sha256, asyncio.Lock())
        async with lock:
            with self._registered(ref, info=info, max_bytes=max_bytes) as download:
                yield download

    @contextlib.contextmanager
    def _registered(
        self, ref: BlobRef, *, info: ServerInfo, max_bytes: int
    ) -> Iterator[Download]:
        if self._parts is not None and ref.size > info.block_bytes:
            collect_stale(
                self._parts.path,
                keep={ref.sha256, *self._downloads},
                older_than_s=STALE_S,
                most_bytes=STALE_BYTES,
            )
        download = Download(
            ref,
            block_bytes=info.block_bytes,
            window=info.window,
            max_bytes=max_bytes,
            parts=self._parts,
        )
        self._downloads[ref.sha256] = download
        try:
            yield download
        finally:
            del self._downloads[ref.sha256]
            # Nobody waits for it: training can begin meanwhile.
            chore = asyncio.create_task(self._unsubscribe(download))
            self._chores.add(chore)
            chore.add_done_callback(self._chores.discard)

    async def _arrived(
        self,
        download: Download,
        judge: Callable[[], Coroutine[None, None, T]],
        *,
        info: ServerInfo,
    ) -> T:
        """Return what ``judge`` says of the blob, once it is whole and right."""
        while True:
            await self._complete(download, info=info)
            try:
                return await judge()
            except DecodeError as error:
                self.dropped[error.reason] += 1
                await download.news(silent_s=info.resend_s)

    async def _complete(self, download: Download, *, info: ServerInfo) -> None:
        """Return when every block is here."""
        patience_s = info.resend_s
        begin = True
        while not download.complete:
            try:
                await download.settle()
            except DecodeError as error:
                self.dropped[error.reason] += 1
            heard = download.heard
            asked = False
            with contextlib.suppress(TransportError):
                await self._ask(download, begin=begin)
                asked = True
            silent_s = patience_s * (0.75 + self._jitter() / 2)
            begin = not await download.news(silent_s=silent_s)
            if download.heard != heard:
                patience_s = info.resend_s
            elif begin and asked:
                patience_s = min(2 * patience_s, MAX_PATIENCE_S)

    async def _ask(self, download: Download, *, begin: bool) -> None:
        """Ask for the next blocks; to ``begin`` (again), for all that is under way.

        Raises:
            TransportError: Nothing was asked for.
        """
        ref = download.ref
        # One block needs no list, unless the server, silent so far, cuts otherwise.
        hashes = begin and bool(download.subscribed or not download.in_one_block)
        if begin:
            filters = [self._topics.blocks(ref.sha256)]
            if hashes:
                filters.append(self._topics.block_list(ref.sha256))
            download.subscribed = filters
            for topic_filter in filters:
                await self._link.subscribe(topic_filter)
        wanted = bitmap(download.ask(again=begin))
        if wanted or hashes:
            topic = self._topics.device(self._device, "need")
            await self._link.publish(topic, frame(Need(ref, wanted, hashes=hashes)))

    async def _unsubscribe(self, download: Download) -> None:
        with contextlib.suppress(TransportError):
            for topic_filter in download.subscribed:
                # a newer fetch may want it again
                if download.ref.sha256 not in self._downloads:
                    await self._link.unsubscribe(topic_filter)
