"""Records: what a server remembers of rounds, versions and devices.

This module is pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from wire_protocol.errors import Reason
from wire_protocol.messages import Evaluation

Outcome: TypeAlias = Literal["open", "merging", "merged", "failed"]
Mode: TypeAlias = Literal["sync", "buffered"]
Cause: TypeAlias = Literal["deadline", "too few", "stopped", "merge"]
"""Why a round failed: its time was over, too few devices were left to reach the
minimum, the server ended (only in old records), or the updates did not add up to a
finite model."""


@dataclass(frozen=True, slots=True, order=True)
class Pending:
    """An accepted update that no merge has brought into a version yet.

    ``version`` is its base. They are ordered as a merge adds them.
    """

    round: int
    device: str
    transfer: str
    version: int


@dataclass(frozen=True, slots=True)
class Participant:
    """One accepted update: who sent it, and what it cost.

    It is of ``round`` and was trained from ``version``. ``bytes_up`` is its size,
    ``bytes_down`` what the device says it fetched for the round; both without what MQTT
    adds. ``evaluation`` judges ``version``, on the device's own hold-out. ``norm`` is
    the server's own, of the delta as it decodes; None in old records.
    """

    round: int
    version: int
    device: str
    transfer: str
    runtime: str
    num_examples: int
    steps: int
    loss: float
    train_s: float
    bytes_up: int
    bytes_down: int
    evaluation: Evaluation | None
    norm: float | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """An accepted update with all its bytes, on its way into the store."""

    participant: Participant
    blob: bytes


@dataclass(frozen=True, slots=True)
class OpenRecord:
    """The round that is not over: what a server needs to go on with it.

    ``offer`` is the frame devices were sent; ``merging`` whether its merge has begun.
    """

    round: int
    version: int
    cohort: tuple[str, ...]
    mode: Mode
    goal: int
    minimum: int
    offer: bytes
    started: float
    merging: bool = False


@dataclass(frozen=True, slots=True)
class RoundTerms:
    """What an update of a round must match; ``base`` is its parameters' digest."""

    round: int
    version: int
    base: str
    cohort: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What became of an accepted update: merged, given up (see ``reason``), or neither.

    ``base`` is the version it was trained from.
    """

    round: int
    device: str
    transfer: str
    base: int
    reason: Reason
    merged_version: int | None

    @property
    def state(self) -> Literal["pending", "merged", "given up"]:
        """What became of it."""
        if self.reason is not Reason.ACCEPTED:
            return "given up"
        return "pending" if self.merged_version is None else "merged"


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round. ``merged_version`` is what came of ``version``, if it did.

    ``participants`` are the updates its merge took; until there is one, and where it
    failed, those of the round. ``cause`` says why it failed; rounds of an older edgefed
    may have failed without. ``seconds`` is from the offer to the commit, ``started``
    and ``ended`` are seconds since 1970 by the server's clock, for people only.
    """

    round: int
    version: int
    outcome: Outcome
    merged_version: int | None
    started: float
    ended: float | None
    seconds: float | None
    cohort: tuple[str, ...]
    participants: tuple[Participant, ...]
    refused: Mapping[str, int]
    cause: Cause | None

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Distinct runtimes that took part, sorted."""
        return tuple(sorted({one.runtime for one in self.participants}))

    @property
    def fresh(self) -> tuple[Participant, ...]:
        """The updates that were trained from ``version``."""
        return tuple(one for one in self.participants if one.version == self.version)

    @property
    def late(self) -> int:
        """How many updates were trained from an older version."""
        return len(self.participants) - len(self.fresh)

    @property
    def carried(self) -> int:
        """How many updates are of an earlier round that had the same version."""
        return sum(one.round != self.round for one in self.fresh)

    @property
    def loss(self) -> float | None:
        """Mean training loss from ``version``, weighted by examples."""
        examples = sum(one.num_examples for one in self.fresh)
        if not examples:
            return None
        return sum(one.loss * one.num_examples for one in self.fresh) / examples

    @property
    def evaluation(self) -> Evaluation | None:
        """Version ``version`` judged on all participants' hold-outs together."""
        parts = [one.evaluation for one in self.fresh if one.evaluation]
        if not parts:
            return None
        return Evaluation(
            examples=sum(part.examples for part in parts),
            loss_sum=sum(part.loss_sum for part in parts),
            metric_sum=sum(part.metric_sum for part in parts),
        )

    @property
    def evaluation_loss(self) -> float | None:
        """Mean hold-out loss of version ``version``."""
        judged = self.evaluation
        return judged.loss_sum / judged.examples if judged else None

    @property
    def metric(self) -> float | None:
        """Mean metric of version ``version`` on hold-outs: accuracy, or mean error."""
        judged = self.evaluation
        return judged.metric_sum / judged.examples if judged else None

    @property
    def bytes_up(self) -> int:
        """Bytes of all accepted updates."""
        return sum(one.bytes_up for one in self.participants)

    @property
    def bytes_down(self) -> int:
        """Bytes the participants fetched."""
        return sum(one.bytes_down for one in self.participants)

    @property
    def max_train_s(self) -> float:
        """Training time of the slowest participant that the round waited for."""
        own = [one.train_s for one in self.participants if one.round == self.round]
        return max(own, default=0.0)

    @property
    def overhead_seconds(self) -> float | None:
        """What the round took beyond the slowest participant's training."""
        return None if self.seconds is None else self.seconds - self.max_train_s


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version: digest of the parameters devices hold, and its delta's size."""

    version: int
    params: str
    delta_bytes: int


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device as it last checked in."""

    device: str
    runtime: str
    family: str
    num_examples: int
    first_seen: float
    last_seen: float
