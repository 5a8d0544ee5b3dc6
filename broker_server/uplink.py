"""Uplink: client updates put together from blocks, in bounded memory and disk space.

An update of one block is whole at once. A larger one is announced by its list of
hashes, asked for a window at a time, and kept in part files, so that a server that was
killed asks only for what it lacks. It is not tied to a round: who may send, and when,
is for the caller to say.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wire_protocol.blobs import BlobRef, Block, BlockList, Need
from wire_protocol.cutting import Listing, bitmap, blob_ref, transfer_id
from wire_protocol.errors import DecodeError, Reason, RefusedError
from wire_protocol.framing import expect
from wire_protocol.part_files import PartFile, PartFolder, collect_stale
from wire_protocol.transfer import Assembly

MAX_PER_DEVICE: Final = 2
"""One update, and one more whose predecessor was given up."""
MOST_BYTES: Final = 1 << 30
STALE_S: Final = 7 * 24 * 3600.0
_log = logging.getLogger("edgefed.server")


def max_update_bytes(size: int) -> int:
    """Return the largest update of ``size`` values: float32 and a generous header."""
    return 4 * size + 64 * 1024


@dataclass(frozen=True, slots=True)
class Advance:
    """What a message of a device led to.

    Attributes:
        blob: The whole update. Its part stays until ``Uplink.forget`` says that it has
            been dealt with.
        need: What the device is to send now.
    """

    blob: bytes | None = None
    need: Need | None = None


NOTHING: Final = Advance()


@dataclass(frozen=True, slots=True)
class _Transfer:
    assembly: Assembly
    part: PartFile


class Uplink:
    """The updates being received, by device and transfer.

    Args:
        folder: For part files, one folder in it for each device.
        window: Blocks that may be under way from a device at a time.
        max_bytes: Largest update.
        most_bytes: Most that all parts together may take on the disk.
        admits: Whether a device may send now.
        max_per_device: Unfinished updates that are kept for a device.
    """

    def __init__(
        self,
        folder: Path,
        *,
        window: int,
        max_bytes: int,
        admits: Callable[[str], bool],
        most_bytes: int = MOST_BYTES,
        max_per_device: int = MAX_PER_DEVICE,
    ) -> None:
        self._folder = folder
        self._window = window
        self._max_bytes = max_bytes
        self._most_bytes = most_bytes
        self._admits = admits
        self._max_per_device = max_per_device
        self._transfers: dict[str, dict[str, _Transfer]] = {}
        # sizes of all parts on the disk, of earlier runs too, oldest first
        self._parts: dict[str, dict[str, BlobRef]] = {}
        self._find_parts()

    def announce(self, device: str, transfer: str, *, payload: bytes) -> Advance:
        """Take the frame of a list of hashes: the device has an update for us.

        It says so again while it gets no answer, so all that is lacking is asked for
        again.

        Raises:
            DecodeError: The list is none, the device may not send, or there is no room.
        """
        self._check_admitted(device)
        head, hashes = expect(BlockList, payload)
        self._check_name(head.blob, transfer)
        listing = Listing(head, hashes)
        known = self._transfers.get(device, {}).get(transfer)
        if known is None or known.assembly.listing != listing:
            known = self._begun(device, listing)
        known.assembly.ask_again()
        return self._advance(known)

    def add(self, device: str, transfer: str, *, payload: bytes) -> Advance:
        """Take the frame of a block.

        Raises:
            DecodeError: The block is none, nobody asked for it, the device may not
                send, or there is no room.
        """
        self._check_admitted(device)
        block, body = expect(Block, payload)
        self._check_name(block.blob, transfer)
        if block.count == 1:
            if blob_ref(body) != block.blob:
                raise DecodeError(f"transfer {transfer} has another digest or size")
            return Advance(body)
        known = self._transfers.get(device, {}).get(transfer)
        if known is None:
            raise DecodeError(f"transfer {transfer} was not announced")
        try:
            whole = known.assembly.put(block, body)
        except RefusedError as error:
            raise self._no_room(error) from error
        more = known.assembly.wants_more(self._window)
        return self._advance(known) if whole or more else NOTHING

    def forget(self, device: str, transfer: str) -> None:
        """Remove what was received of an update that has been dealt with."""
        known = self._transfers.get(device, {}).pop(transfer, None)
        ref = self._parts.get(device, {}).pop(transfer, None)
        if ref is None:
            return
        try:
            if known is None:
                folder = self._part_folder(device).path
                for suffix in ("map", "part"):
                    (folder / f"{ref.sha256}.{suffix}").unlink(missing_ok=True)
            else:
                known.part.discard()
        except (OSError, RefusedError) as error:
            _log.warning("a part of an update stays behind: %s", error)

    def drop(self, device: str) -> None:
        """Remove all that was received of a device's updates."""
        for transfer in list(self._parts.get(device, {})):
            self.forget(device, transfer)
        self._transfers.pop(device, None)

    # --- one transfer ---------------------------------------------------------

    def _advance(self, known: _Transfer) -> Advance:
        assembly = known.assembly
        try:
            known.part.save(assembly.listing, assembly.here())
            if assembly.complete:
                return Advance(self._content(known))
        except RefusedError as error:
            raise self._no_room(error) from error
        wanted = bitmap(assembly.ask(self._window))
        return Advance(need=Need(assembly.ref, wanted)) if wanted else NOTHING

    def _content(self, known: _Transfer) -> bytes:
        try:
            return known.assembly.content()
        except DecodeError:
            known.part.save(known.assembly.listing, known.assembly.here())
            raise

    def _begun(self, device: str, listing: Listing) -> _Transfer:
        """Begin a transfer, or take it up where an earlier run left it."""
        ref = listing.head.blob
        transfer = transfer_id(ref)
        block_bytes = listing.head.block_bytes
        own = self._parts.setdefault(device, {})
        if own.get(transfer) != ref:
            self._make_room(device, ref)
        own[transfer] = ref
        try:
            part = self._part_folder(device).open(ref, block_bytes=block_bytes)
            assembly = Assembly(
                ref, block_bytes=block_bytes, max_bytes=self._max_bytes, part=part
            )
            if part.remembered.listing == listing:
                assembly.resume(listing, part.remembered.here)
            else:
                assembly.take_list(listing)
                part.save(listing, assembly.here())
        except RefusedError as error:
            self.forget(device, transfer)
            raise self._no_room(error) from error
        except DecodeError:
            self.forget(device, transfer)
            raise
        known = _Transfer(assembly, part)
        self._transfers.setdefault(device, {})[transfer] = known
        return known

    # --- bounds ---------------------------------------------------------------

    def _check_admitted(self, device: str) -> None:
        if not self._admits(device):
            raise DecodeError(f"{device} may not send", reason=Reason.NOT_IN_COHORT)

    def _check_name(self, ref: BlobRef, transfer: str) -> None:
        if transfer_id(ref) != transfer:
            raise DecodeError(f"transfer {transfer_id(ref)} came as {transfer:.64}")
        if ref.size > self._max_bytes:
            raise DecodeError(
                f"an update of {ref.size} bytes is over the limit of {self._max_bytes}",
                reason=Reason.TOO_LARGE,
            )

    def _make_room(self, device: str, ref: BlobRef) -> None:
        own = self._parts[device]
        self.forget(device, transfer_id(ref))  # another blob of the same short name
        while len(own) >= self._max_per_device:
            self.forget(device, next(iter(own)))
        for other in list(self._parts):
            for transfer in self._parts[other].keys() - self._transfers.get(other, {}):
                if self._taken + ref.size > self._most_bytes:
                    self.forget(other, transfer)  # of an earlier run
        taken = self._taken
        if taken + ref.size > self._most_bytes:
            raise DecodeError(
                f"updates under way take {taken} of {self._most_bytes} bytes",
                reason=Reason.LOW_DISK,
            )

    @property
    def _taken(self) -> int:
        return sum(ref.size for own in self._parts.values() for ref in own.values())

    def _no_room(self, error: RefusedError) -> DecodeError:
        _log.error("an update cannot be received: %s", error)
        return DecodeError(error.problem, reason=Reason.LOW_DISK)

    def _part_folder(self, device: str) -> PartFolder:
        # A power cut here costs what was received of a few updates, and no more.
        return PartFolder(self._folder / device, durable=False)

    def _find_parts(self) -> None:
        """Take stock of what earlier runs left; remove what nobody will finish."""
        for folder in self._folder.glob("*/"):
            collect_stale(
                folder,
                keep=(),
                older_than_s=STALE_S,
                most_bytes=self._max_per_device * self._max_bytes,
            )
            found = sorted(folder.glob("*.part"), key=lambda path: path.stat().st_mtime)
            refs = [BlobRef(path.stem, path.stat().st_size) for path in found]
            self._parts[folder.name] = {transfer_id(ref): ref for ref in refs}
