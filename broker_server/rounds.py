"""One round on the server: a state machine without I/O.

``step`` is the whole protocol of a round. What happened comes in as an event, what
should happen goes out as effects; ``service.py`` turns the one into the other. A pair
that has no row, and an event of another round, change nothing. Every effect may
happen twice. This module is pure.

A device is *outstanding* until it reported or declined. The shell lets one that stays
offline for too long decline; should it come back with its update, that still counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from broker_server.records import Cause
from wire_protocol.errors import Reason

# --- states -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """No round is open."""


@dataclass(frozen=True, slots=True)
class Collecting:
    """The cohort has the offer; ``reported`` maps device to accepted transfer."""

    round: int
    cohort: frozenset[str]
    goal: int
    minimum: int
    reported: Mapping[str, str] = field(default_factory=dict)
    declined: frozenset[str] = frozenset()

    @property
    def outstanding(self) -> frozenset[str]:
        """Devices that may still send an update."""
        return self.cohort - self.reported.keys() - self.declined


@dataclass(frozen=True, slots=True)
class Merging:
    """Collection is over; the updates become a new version."""

    round: int
    reported: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Failed:
    """The round ended without a new version."""

    round: int


State: TypeAlias = Waiting | Collecting | Merging | Failed

# --- events -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """A cohort was drawn; ``goal`` 0 means the whole cohort."""

    round: int
    cohort: frozenset[str]
    goal: int
    minimum: int


@dataclass(frozen=True, slots=True)
class Reported:
    """An update of the cohort was checked and found good."""

    round: int
    device: str
    transfer: str


@dataclass(frozen=True, slots=True)
class Declined:
    """A device abandoned the round, stays offline, or its update was refused."""

    round: int
    device: str


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The round has taken as long as it may."""

    round: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The server is told to end."""

    round: int


@dataclass(frozen=True, slots=True)
class Merged:
    """The new version is committed."""

    round: int


@dataclass(frozen=True, slots=True)
class MergeFailed:
    """The updates did not add up to a finite model."""

    round: int


Event: TypeAlias = (
    Started | Reported | Declined | DeadlinePassed | Interrupted | Merged | MergeFailed
)

# --- effects ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offer:
    """Invite the cohort, and set the deadline's timer."""

    round: int
    cohort: frozenset[str]


@dataclass(frozen=True, slots=True)
class Keep:
    """Store the update; always comes before its ``Acknowledge``."""

    round: int
    device: str
    transfer: str


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Send the receipt of an update."""

    round: int
    device: str
    transfer: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge the updates of these devices into a new version."""

    round: int
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Announce:
    """Close the round: it is merged."""

    round: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Close the round: it failed, and its accepted updates do not count."""

    round: int
    reported: Mapping[str, str]
    cause: Cause


Effect: TypeAlias = Offer | Keep | Acknowledge | Merge | Announce | Withdraw


def step(state: State, event: Event) -> tuple[State, tuple[Effect, ...]]:
    """Return the next state and what the shell must now do, in order."""
    match state, event:
        case ((Waiting() | Failed()), Started()):
            return _start(event)
        case Collecting(number), _ if event.round == number:
            return _collect(state, event)
        case Merging(number), _ if event.round == number:
            return _merge(state, event)
        case _:
            return state, ()


def _collect(state: Collecting, event: Event) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case Reported(_, device) if device in state.cohort:
            return _report(state, event)
        case Declined(_, device) if device in state.outstanding:
            return _settle(replace(state, declined=state.declined | {device}))
        case DeadlinePassed():
            return _close(state, "deadline")
        case Interrupted():
            return _withdraw(state, "stopped")
        case _:
            return state, ()


def _merge(state: Merging, event: Event) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case Reported(number, device, transfer):
            known = state.reported.get(device)
            return state, _answer(number, device, transfer, known=known)
        case Merged(number):
            return Waiting(), (Announce(number),)
        case MergeFailed():
            return _withdraw(state, "merge")
        case _:
            return state, ()


def _start(event: Started) -> tuple[State, tuple[Effect, ...]]:
    size = len(event.cohort)
    state = Collecting(
        event.round,
        event.cohort,
        goal=min(event.goal, size) or size,
        minimum=event.minimum,
    )
    return state, (Offer(event.round, event.cohort),)


def _report(state: Collecting, event: Reported) -> tuple[State, tuple[Effect, ...]]:
    device, transfer = event.device, event.transfer
    if device in state.reported:
        known = state.reported[device]
        return state, _answer(state.round, device, transfer, known=known)
    reported = replace(
        state,
        reported={**state.reported, device: transfer},
        declined=state.declined - {device},
    )
    settled, effects = _settle(reported)
    return settled, (
        Keep(state.round, device, transfer),
        Acknowledge(state.round, device, transfer, Reason.ACCEPTED),
        *effects,
    )


def _answer(
    number: int, device: str, transfer: str, *, known: str | None
) -> tuple[Effect, ...]:
    """Repeat the receipt of an update; a second, different one never counts."""
    if known is None:
        return ()
    reason = Reason.ACCEPTED if transfer == known else Reason.DUPLICATE
    return (Acknowledge(number, device, transfer, reason),)


def _settle(state: Collecting) -> tuple[State, tuple[Effect, ...]]:
    """Close the round when waiting longer can change nothing."""
    reachable = len(state.reported) + len(state.outstanding)
    done = len(state.reported) >= state.goal or not state.outstanding
    if done or reachable < state.minimum:
        return _close(state, "too few")
    return state, ()


def _close(state: Collecting, cause: Cause) -> tuple[State, tuple[Effect, ...]]:
    """Merge what there is, or fail for ``cause`` if that is below the minimum."""
    if len(state.reported) < state.minimum:
        return _withdraw(state, cause)
    # Sorted, so that the merge does not depend on who came first.
    devices = tuple(sorted(state.reported))
    return Merging(state.round, state.reported), (Merge(state.round, devices),)


def _withdraw(
    state: Collecting | Merging, cause: Cause
) -> tuple[State, tuple[Effect, ...]]:
    return Failed(state.round), (Withdraw(state.round, state.reported, cause),)
