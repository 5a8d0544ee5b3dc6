"""One download: its assembly, its part file, and the news that ``fetching`` awaits."""

import asyncio
import contextlib
from pathlib import Path

from wire_protocol.blobs import BlobRef, Block
from wire_protocol.cutting import Cut, Listing
from wire_protocol.errors import RefusedError
from wire_protocol.part_files import PartFile, PartFolder
from wire_protocol.transfer import Assembly


class Download:
    """A blob under way to this device."""

    def __init__(
        self,
        ref: BlobRef,
        *,
        block_bytes: int,
        window: int,
        max_bytes: int,
        parts: PartFolder | None,
    ) -> None:
        self.ref = ref
        self.heard = 0
        """Messages that were of use."""
        self.subscribed: list[str] = []
        self._window = window
        self._max_bytes = max_bytes
        self._parts = parts
        self._news = asyncio.Event()
        self._lost = False
        self._recut: Listing | None = None
        self._trouble: RefusedError | None = None
        self._part: PartFile | None = None
        self._assembly = self._begun(block_bytes)

    @property
    def in_one_block(self) -> bool:
        """Whether the blob needs no list of hashes."""
        return self._assembly.cut.count == 1

    @property
    def complete(self) -> bool:
        """Whether every block is here."""
        return self._assembly.complete

    def ask(self, *, again: bool) -> tuple[int, ...]:
        """Return what to ask for; ``again`` also what was asked for before."""
        if again:
            self._assembly.ask_again()
        return self._assembly.ask(self._window)

    def put(self, block: Block, body: bytes) -> None:
        """Take a block, or raise ``DecodeError``."""
        try:
            self._assembly.put(block, body)
        except RefusedError as error:
            self._trouble = error
            self._news.set()
            return
        self.heard += 1
        assembly = self._assembly
        many = assembly.unsaved >= max(1, self._window // 2)
        if many or assembly.complete or assembly.wants_more(self._window):
            self._news.set()

    def take_list(self, listing: Listing) -> None:
        """Take the list of hashes; one of another cut is that of a new beginning.

        Raises:
            DecodeError: It lists another blob, or blocks that were here are wrong.
        """
        self.heard += 1
        if listing.cut != self._assembly.cut and listing.head.blob == self.ref:
            self._recut = listing
            self.begin_again()
        else:
            self._assembly.take_list(listing)

    def begin_again(self) -> None:
        """Let ``news`` say that what was asked for is lost."""
        self._lost = True
        self._news.set()

    async def news(self, *, silent_s: float) -> bool:
        """Wait until there is more to ask for, or nothing more.

        Return False when nothing came for ``silent_s``, or ``begin_again`` was called.
        """
        heard = -1
        while heard != self.heard:
            heard = self.heard
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(silent_s):
                    await self._news.wait()
                self._news.clear()
                lost, self._lost = self._lost, False
                return not lost
        return False

    async def settle(self) -> None:
        """Make last what came, before more is asked for.

        Raises:
            RefusedError: The part file cannot be written.
        """
        if self._trouble is not None:
            raise self._trouble
        if self._recut is not None:
            listing, self._recut = self._recut, None
            self._assembly = self._begun(listing.cut.block_bytes)
            self._assembly.take_list(listing)
        assembly = self._assembly
        if self._part is not None and assembly.unsaved:
            here = assembly.here()
            await asyncio.to_thread(self._part.save, assembly.listing, here)

    async def content(self) -> bytes:
        """Return the complete blob.

        Raises:
            DecodeError: It is wrong, and has been dropped.
        """
        if self._part is None:
            return self._assembly.content()
        return await asyncio.to_thread(self._assembly.content)

    async def check(self) -> None:
        """Judge the complete blob as ``content`` does, without holding it."""
        await asyncio.to_thread(self._assembly.check)

    def move_to(self, path: Path) -> bool:
        """Make the part file ``path``; return False if the blob is in memory."""
        if self._part is None:
            return False
        self._part.move_to(path)
        return True

    def discard(self) -> None:
        """Remove the part file."""
        if self._part is not None:
            self._part.discard()

    def _begun(self, block_bytes: int) -> Assembly:
        """Return an assembly of what is here by this cut; one block stays in memory."""
        fits = self.ref.size <= self._max_bytes
        self._part = None
        if self._parts and fits and Cut(self.ref.size, block_bytes).count > 1:
            self._part = self._parts.open(self.ref, block_bytes=block_bytes)
        assembly = Assembly(
            self.ref,
            block_bytes=block_bytes,
            max_bytes=self._max_bytes,
            part=self._part,
        )
        if self._part is not None:
            remembered = self._part.remembered
            assembly.resume(remembered.listing, remembered.here)
        return assembly
