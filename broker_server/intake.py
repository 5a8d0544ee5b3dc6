"""Intake: what devices say, turned into events of the round.

Whatever arrives, the outcome is an event, nothing, or a message that is dropped and
counted by its reason; never an exception.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TypeAlias

from broker_server.acceptance import RefusedUpdateError, Terms, accept, head_of
from broker_server.outlets import Memory, Outlets
from broker_server.receipts import Receipts
from broker_server.records import Participant, Update
from broker_server.registry import EXCLUDING, MAX_DEVICES, Registry
from broker_server.roster import EVERYBODY, Roster
from broker_server.round_events import Declined, LateReported, Reported
from broker_server.uplink import Advance, Uplink
from wire_protocol.blobs import Block, Need
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect
from wire_protocol.messages import (
    Abandoned,
    CheckIn,
    ClientUpdate,
    RoundOffer,
    UpdateReceipt,
)
from wire_protocol.topics import Topics, round_number

Heard: TypeAlias = Reported | LateReported | Declined
_log = logging.getLogger("edgefed.server")


class Intake:
    """The server's ear: all that it knows of devices comes through here.

    ``check_limits`` raises ``DecodeError`` for a message of that device and size that
    must not be looked into.
    """

    def __init__(
        self,
        topics: Topics,
        outlets: Outlets,
        *,
        memory: Memory,
        uplink: Uplink,
        size: int,
        roster: Roster = EVERYBODY,
        check_limits: Callable[[str, int], None] = lambda _device, _size: None,
    ) -> None:
        self._topics = topics
        self._outlets = outlets
        self._memory = memory
        self._uplink = uplink
        self._size = size
        self._roster = roster
        self._check_limits = check_limits
        self._offer: RoundOffer | None = None
        self._receipts = Receipts()
        self._dealt_with: list[tuple[str, str]] = []
        self._abandoned: set[str] = set()
        self._heard: set[str] = set()
        self.registry = Registry()
        self.refused: Counter[Reason] = Counter()
        """Messages that were dropped or refused, since ``take_refused``."""

    @property
    def filters(self) -> tuple[str, ...]:
        """What the server subscribes to; old offers first, to be rid of them."""
        rests = ("availability", "info", "need", "evt", "up/+/m", "up/+/b/+")
        heard = (
            self._topics.round("+"),
            *(self._topics.device("+", rest) for rest in rests),
        )
        if self._roster.folder is None:
            return heard
        renewal = self._topics.device("+", "renewal")
        return (*heard, renewal, self._topics.enrolment("+", "req"))

    def open(self, offer: RoundOffer) -> None:
        """Take updates of this round as it collects them; its cohort may have grown."""
        if self._offer is None or self._offer.round != offer.round:
            self._abandoned.clear()
        self._offer = offer

    def close(self) -> None:
        """Take updates of the round as late ones from now on."""
        self._offer = None

    def forget(self) -> None:
        """Let go of the round and of all receipts: some may not have been stored."""
        self.close()
        self._receipts = Receipts()
        self._dealt_with.clear()

    def tidy_up(self) -> None:
        """Remove the parts of updates whose fate is stored."""
        for device, transfer in self._dealt_with:
            self._uplink.forget(device, transfer)
        self._dealt_with.clear()

    def occupied(self, devices: Collection[str], *, busy: bool) -> None:
        """Note whether these devices still work on an update of a closed round."""
        self.registry = self.registry.occupied(devices, busy=busy)

    def answer(self, device: str, receipt: UpdateReceipt) -> None:
        """Send a receipt, and send it again whenever its update comes again."""
        self._receipts.note(device, receipt)
        self._dealt_with.append((device, receipt.transfer))
        self.registry = self.registry.occupied({device}, busy=False)
        self._outlets.answer(device, receipt)

    def answer_again(self, event: Reported | LateReported, *, known: str) -> None:
        """Answer an update of a round that already has the update ``known``."""
        given = self.receipt(event.device, event.transfer)
        if given is None or event.transfer != known:
            self.count(Reason.DUPLICATE)
            given = UpdateReceipt(event.round, event.transfer, Reason.DUPLICATE)
        self.answer(event.device, given)

    def count(self, reason: Reason) -> None:
        """Count something that does not count."""
        self.refused[reason] += 1

    def counts(self) -> dict[str, int]:
        """Return the counts by reason."""
        return {str(reason): count for reason, count in self.refused.items()}

    def take_refused(self) -> dict[str, int]:
        """Return the counts by reason and begin anew."""
        counts = self.counts()
        self.refused.clear()
        return counts

    def restore_refused(self, counts: Mapping[str, int]) -> None:
        """Put back counts that could not be recorded."""
        for reason, count in counts.items():
            self.refused[Reason(reason)] += count

    def shut_out(self, devices: Collection[str]) -> tuple[Declined, ...]:
        """Know nothing more of these devices; return what that means for the round."""
        self.registry = self.registry.without(devices)
        self._heard.difference_update(devices)
        for device in devices:
            self._uplink.drop(device)
        if self._offer is None:
            return ()
        lost = set(self._offer.cohort).intersection(devices)
        return tuple(Declined(self._offer.round, device) for device in sorted(lost))

    def call_roll(self) -> None:
        """Begin to note who says something, on a new connection.

        Wills die with their broker, and a restarted one may even have kept ``online``.
        Whoever hears the server's greeting answers it.
        """
        self._heard.clear()

    def end_roll_call(self) -> None:
        """Take for offline whoever said nothing since ``call_roll``."""
        for name, device in self.registry.devices.items():
            if device.online and name not in self._heard:
                self.registry = self.registry.availability(name, online=False)

    def receive(
        self,
        topic: str,
        payload: bytes,
        *,
        retained: bool = False,
        conn: int | None = None,
    ) -> Heard | None:
        """Take a message; return what it means for the round, if anything."""
        try:
            levels = self._topics.levels(topic)
            if levels[0] == "d":
                self._check_admitted(levels, payload)
                self._check_limits(levels[1], len(payload))
            if levels[0] == "d" and not retained and len(self._heard) < MAX_DEVICES:
                self._heard.add(levels[1])
            return self._receive(levels, payload, conn=conn)
        except DecodeError as error:
            self.count(error.reason)
            _log.debug("dropped a message on %s: %s", topic, error)
            self._hold_against(topic, error.reason)
            return None

    def _receive(
        self, levels: tuple[str, ...], payload: bytes, *, conn: int | None
    ) -> Heard | None:
        match levels:
            case ("round", level) if payload:
                self._take_offer(round_number(level))
            case ("d", device, "availability"):
                self._take_availability(device, payload, conn=conn)
            case ("d", device, "info") if payload:
                self._take_check_in(device, expect(CheckIn, payload)[0])
            case ("enroll", claim, "req"):
                self._outlets.enrol(claim, payload)
            case ("d", device, "renewal"):
                self._outlets.renew(device, payload)
            case ("d", device, "need"):
                self._outlets.ask(device, expect(Need, payload)[0])
            case ("d", device, "evt"):
                return self._take_abandoned(device, expect(Abandoned, payload)[0])
            case ("d", device, "up", transfer, "m"):
                return self._take_list(device, transfer, payload)
            case ("d", device, "up", transfer, "b", _):
                return self._take_block(device, transfer, payload)
            case _:
                pass  # empty: a retained topic was cleared
        return None

    def _check_admitted(self, levels: tuple[str, ...], payload: bytes) -> None:
        try:
            self._roster.check_admitted(levels[1])
        except DecodeError as error:
            if error.reason is Reason.UNKNOWN_DEVICE and payload:
                self._outlets.knock(levels[1], levels[2])
            raise

    def _take_offer(self, number: int) -> None:
        """Withdraw what the broker still offers of an earlier run, or of a lost one.

        Devices that are busy with it would not hear of the round that is open.
        """
        if self._offer is None or number != self._offer.round:
            self._outlets.withdraw(number)

    def _take_availability(
        self, device: str, payload: bytes, *, conn: int | None
    ) -> None:
        if payload not in (b"online", b"offline", b""):
            raise DecodeError(f"availability is online or offline, not {payload!r:.40}")
        online = payload == b"online"
        self.registry = self.registry.availability(device, online=online, conn=conn)

    def _take_check_in(self, device: str, check_in: CheckIn) -> None:
        known = self.registry.devices.get(device)
        before = known.check_in if known else None
        self.registry = self.registry.checked_in(device, check_in)
        if before != check_in:
            self._outlets.note_device(device, check_in)
        if check_in.busy and self._memory.accepted(check_in.busy, device):
            # It does not know yet; its receipt is on the way, or comes below.
            self.registry = self.registry.occupied({device}, busy=False)
        if before is None or before.conn != check_in.conn:
            # It may have been cut off before its receipt came. The next round must
            # not find it in doubt, or it would send again what is counted.
            last = self._receipts.last(device) or self._memory.last_receipt(device)
            if last is not None:
                self._outlets.answer(device, last)

    def _take_abandoned(self, device: str, message: Abandoned) -> Declined | None:
        busy = message.reason is Reason.BUSY
        self.registry = self.registry.occupied({device}, busy=busy)
        if self._offer is None or message.round != self._offer.round:
            return None
        if device not in self._offer.cohort:
            raise DecodeError(
                f"{device} is not in the cohort", reason=Reason.NOT_IN_COHORT
            )
        if device not in self._abandoned:  # it repeats it when the offer is repeated
            self._abandoned.add(device)
            self.count(message.reason)
        self._exclude_for(device, message.reason)
        return Declined(message.round, device)

    def _take_list(self, device: str, transfer: str, payload: bytes) -> Heard | None:
        receipt = self.receipt(device, transfer)
        if receipt is not None:
            self._outlets.answer(device, receipt)
            return None
        advance = self._uplink.announce(device, transfer, payload=payload)
        return self._take_advance(device, transfer, advance)

    def _take_block(self, device: str, transfer: str, payload: bytes) -> Heard | None:
        receipt = self.receipt(device, transfer)
        if receipt is not None:
            # A larger update is announced when it is repeated.
            if expect(Block, payload)[0].count == 1:
                self._outlets.answer(device, receipt)
            return None
        advance = self._uplink.add(device, transfer, payload=payload)
        return self._take_advance(device, transfer, advance)

    def _take_advance(
        self, device: str, transfer: str, advance: Advance
    ) -> Heard | None:
        if advance.need is not None:
            self._outlets.need(device, advance.need)
        if advance.blob is None:
            return None
        return self._take_update(device, transfer, advance.blob)

    def receipt(self, device: str, transfer: str) -> UpdateReceipt | None:
        """Return what was answered to this update, however long ago it was accepted."""
        return self._receipts.find(device, transfer) or self._memory.receipt(
            device, transfer
        )

    def _take_update(self, device: str, transfer: str, blob: bytes) -> Heard | None:
        """Judge a whole update, by the terms of the round that it is of."""
        number = self._offer.round if self._offer else 0
        try:
            frame = self._unsealed(device, blob)
            message, body = head_of(frame)
            number = message.round
            self._check_barred(device)
            if self._offer is not None and number == self._offer.round:
                terms = Terms.of(self._offer)
            else:
                terms = self._memory.terms(number)
            norm = accept(terms, message, body=body, device=device, size=self._size)
        except RefusedUpdateError as error:
            return self._refuse(device, transfer, error, number=number)
        participant = self._participant(
            device, transfer, message, version=terms.version, size=len(blob)
        )
        update = Update(replace(participant, norm=norm), frame)
        if self._offer is not None and number == self._offer.round:
            return Reported(number, device, transfer, update)
        return LateReported(number, device, transfer, terms.version, update)

    def _unsealed(self, device: str, blob: bytes) -> bytes:
        try:
            return self._roster.unseal(device, self._topics.device(device, "up"), blob)
        except DecodeError as error:
            raise RefusedUpdateError(error.problem, reason=error.reason) from error

    def _check_barred(self, device: str) -> None:
        if self._memory.barred(device):
            raise RefusedUpdateError("in quarantine", reason=Reason.QUARANTINED)

    def _refuse(
        self, device: str, transfer: str, error: RefusedUpdateError, *, number: int
    ) -> Declined | None:
        self.count(error.reason)
        _log.warning("refused an update of %s: %s", device, error)
        # What cannot be read has no round, but its device needs an answer.
        self.answer(device, UpdateReceipt(max(number, 1), transfer, error.reason))
        self._exclude_for(device, error.reason)
        self._outlets.note_offence(device, error.reason)
        return Declined(number, device)

    def _participant(
        self,
        device: str,
        transfer: str,
        message: ClientUpdate,
        *,
        version: int,
        size: int,
    ) -> Participant:
        known = self.registry.devices.get(device)
        return Participant(
            round=message.round,
            version=version,
            device=device,
            transfer=transfer,
            runtime=known.check_in.runtime if known and known.check_in else "",
            num_examples=message.num_examples,
            steps=message.steps,
            loss=message.loss,
            train_s=message.train_s,
            bytes_up=size,
            bytes_down=message.bytes_down,
            evaluation=message.evaluation,
        )

    def _hold_against(self, topic: str, reason: Reason) -> None:
        """Hold it against a known device if it announced what no update can be.

        Whatever else is dropped may be the fault of a restart on either side.
        """
        match topic.split("/")[3:]:
            case ["d", device, "up", *_] if device in self.registry.devices:
                if reason is Reason.TOO_LARGE:
                    self._outlets.note_offence(device, reason)
            case _:
                pass

    def _exclude_for(self, device: str, reason: Reason) -> None:
        if reason in EXCLUDING:
            self.registry = self.registry.excluded(device)
            _log.warning("%s is excluded until it checks in anew: %s", device, reason)
