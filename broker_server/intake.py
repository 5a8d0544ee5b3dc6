"""Intake: what devices say, turned into events of the round.

Whatever arrives, the outcome is an event, nothing, or a message that is dropped and
counted by its reason; never an exception.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from broker_server.acceptance import Accepted, RefusedUpdateError, accept
from broker_server.receipts import Receipts
from broker_server.records import Participant
from broker_server.registry import EXCLUDING, MAX_DEVICES, Registry
from broker_server.rounds import Declined, Reported
from broker_server.uplink import Advance, Uplink, max_update_bytes
from wire_protocol.blobs import Block, Need
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect
from wire_protocol.messages import Abandoned, CheckIn, RoundOffer, UpdateReceipt
from wire_protocol.topics import Topics

_log = logging.getLogger("edgefed.server")


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where the intake passes things on to.

    ``withdraw`` clears a round that is not open; ``ask`` raises ``DecodeError`` for a
    blob that is not on offer; ``need`` asks a device for blocks of its update.
    """

    answer: Callable[[str, UpdateReceipt], None]
    withdraw: Callable[[int], None]
    ask: Callable[[str, Need], None]
    need: Callable[[str, Need], None]
    note_device: Callable[[str, CheckIn], None]


@dataclass(frozen=True, slots=True)
class Update:
    """An accepted update, before it is stored."""

    participant: Participant
    blob: bytes


class Intake:
    """The server's ear: all that it knows of devices comes through here."""

    def __init__(
        self,
        topics: Topics,
        outlets: Outlets,
        *,
        size: int,
        parts: Path,
        window: int,
    ) -> None:
        self._topics = topics
        self._outlets = outlets
        self._size = size
        self._offer: RoundOffer | None = None
        self._uplink = Uplink(
            parts, window=window, max_bytes=max_update_bytes(size), admits=self._admits
        )
        self._receipts = Receipts()
        self._abandoned: set[str] = set()
        self._heard: set[str] = set()
        self.registry = Registry()
        self.refused: Counter[Reason] = Counter()
        """Messages that were dropped or refused, since ``take_refused``."""
        self.update: Update | None = None
        """The update that the latest ``Reported`` is about."""

    @property
    def filters(self) -> tuple[str, ...]:
        """What the server subscribes to; old offers first, to be rid of them."""
        rests = ("availability", "info", "need", "evt", "up/+/m", "up/+/b/+")
        return (
            self._topics.round("+"),
            *(self._topics.device("+", rest) for rest in rests),
        )

    def open(self, offer: RoundOffer) -> None:
        """Accept updates of this round."""
        self._offer = offer
        self._abandoned.clear()

    def close(self) -> None:
        """Accept no more updates."""
        self._offer = self.update = None

    def answer(self, device: str, receipt: UpdateReceipt) -> None:
        """Send a receipt, and send it again whenever its update comes again."""
        self._receipts.note(device, receipt)
        self._uplink.forget(device, receipt.transfer)
        self._outlets.answer(device, receipt)

    def recall(self, device: str, receipt: UpdateReceipt) -> None:
        """Know a receipt from before, without sending it."""
        self._receipts.note(device, receipt)

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
        self, topic: str, payload: bytes, *, retained: bool = False
    ) -> Reported | Declined | None:
        """Take a message; return what it means for the round, if anything."""
        try:
            levels = self._topics.levels(topic)
            if levels[0] == "d" and not retained and len(self._heard) < MAX_DEVICES:
                self._heard.add(levels[1])
            return self._receive(levels, payload)
        except DecodeError as error:
            self.count(error.reason)
            _log.debug("dropped a message on %s: %s", topic, error)
            return None

    def _receive(
        self, levels: tuple[str, ...], payload: bytes
    ) -> Reported | Declined | None:
        match levels:
            case ("round", number) if payload:
                self._take_offer(number)
            case ("d", device, "availability"):
                self._take_availability(device, payload)
            case ("d", device, "info") if payload:
                self._take_check_in(device, expect(CheckIn, payload)[0])
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

    def _take_offer(self, number: str) -> None:
        """Withdraw what the broker still offers of an earlier run, or of a lost one.

        Devices that are busy with it would not hear of the round that is open.
        """
        if not (number.isascii() and number.isdecimal() and len(number) <= 10):
            raise DecodeError(f"{number!r:.20} is no round")
        if self._offer is None or int(number) != self._offer.round:
            self._outlets.withdraw(int(number))

    def _take_availability(self, device: str, payload: bytes) -> None:
        if payload not in (b"online", b"offline", b""):
            raise DecodeError(f"availability is online or offline, not {payload!r:.40}")
        online = payload == b"online"
        self.registry = self.registry.availability(device, online=online)

    def _take_check_in(self, device: str, check_in: CheckIn) -> None:
        known = self.registry.devices.get(device)
        before = known.check_in if known else None
        self.registry = self.registry.checked_in(device, check_in)
        if before != check_in:
            self._outlets.note_device(device, check_in)
        last = self._receipts.last(device)
        if last is not None and (before is None or before.conn != check_in.conn):
            # It may have been cut off before its receipt came. The next round must
            # not find it in doubt, or it would send again what is counted.
            self._outlets.answer(device, last)

    def _take_abandoned(self, device: str, message: Abandoned) -> Declined:
        if self._offer is None or message.round != self._offer.round:
            raise DecodeError(
                f"round {message.round} is not open", reason=Reason.WRONG_ROUND
            )
        if device not in self._offer.cohort:
            raise DecodeError(
                f"{device} is not in the cohort", reason=Reason.NOT_IN_COHORT
            )
        if device not in self._abandoned:  # it repeats it when the offer is repeated
            self._abandoned.add(device)
            self.count(message.reason)
        self._exclude_for(device, message.reason)
        return Declined(message.round, device)

    def _admits(self, device: str) -> bool:
        return self._offer is not None and device in self._offer.cohort

    def _check_open(self) -> None:
        if self._offer is None:
            raise DecodeError("no round is open", reason=Reason.WRONG_ROUND)

    def _take_list(
        self, device: str, transfer: str, payload: bytes
    ) -> Reported | Declined | None:
        receipt = self._receipts.find(device, transfer)
        if receipt is not None:
            self._outlets.answer(device, receipt)
            return None
        self._check_open()
        advance = self._uplink.announce(device, transfer, payload=payload)
        return self._take_advance(device, transfer, advance)

    def _take_block(
        self, device: str, transfer: str, payload: bytes
    ) -> Reported | Declined | None:
        receipt = self._receipts.find(device, transfer)
        if receipt is not None:
            # A larger update is announced when it is repeated.
            if expect(Block, payload)[0].count == 1:
                self._outlets.answer(device, receipt)
            return None
        self._check_open()
        advance = self._uplink.add(device, transfer, payload=payload)
        return self._take_advance(device, transfer, advance)

    def _take_advance(
        self, device: str, transfer: str, advance: Advance
    ) -> Reported | Declined | None:
        if advance.need is not None:
            self._outlets.need(device, advance.need)
        blob = advance.blob
        if blob is None or self._offer is None:
            return None
        try:
            accepted = accept(self._offer, device=device, blob=blob, size=self._size)
        except RefusedUpdateError as error:
            return self._refuse(device, transfer, error, number=self._offer.round)
        participant = self._participant(device, transfer, accepted, size=len(blob))
        self.update = Update(participant, blob)
        return Reported(self._offer.round, device, transfer)

    def _refuse(
        self, device: str, transfer: str, error: RefusedUpdateError, *, number: int
    ) -> Declined | None:
        self.count(error.reason)
        _log.warning("refused an update of %s: %s", device, error)
        self.answer(device, UpdateReceipt(number, transfer, error.reason))
        self._exclude_for(device, error.reason)
        return Declined(number, device) if error.ours else None

    def _participant(
        self, device: str, transfer: str, accepted: Accepted, *, size: int
    ) -> Participant:
        known = self.registry.devices.get(device)
        message = accepted.message
        return Participant(
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

    def _exclude_for(self, device: str, reason: Reason) -> None:
        if reason in EXCLUDING:
            self.registry = self.registry.excluded(device)
            _log.warning("%s is excluded until it checks in anew: %s", device, reason)
