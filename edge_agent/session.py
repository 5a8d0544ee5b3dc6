"""One device's part in one round: a state machine without I/O.

``step`` takes what happened and returns what must now be done; the shell in
``service.py`` does it and feeds the outcome back. MQTT repeats, reorders and loses, so
an event of another round is an echo, a pair without a row changes nothing, and every
effect may happen twice. This module is pure.

    Idle -> Fetching -> Training -> Reporting -> Idle

A round ends for the device when the *server's receipt* comes, not at PUBACK. A receipt
may also come late: ``round_failed`` takes back an earlier ``accepted``, and an
``accepted`` may arrive after the next offer. Those two hold in every state. An update
whose fate was never told is folded back by ``wire_protocol.error_feedback`` when the
next one is encoded.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

from wire_protocol.errors import Reason
from wire_protocol.messages import RoundOffer

# --- states -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Idle:
    """Waiting for an offer; ``done`` is the last one, which may be repeated.

    ``declined`` is why it was given up: whoever repeats it does not know that yet.
    Once ``closed``, the same offer comes from a server that began anew.
    """

    done: RoundOffer | None = None
    declined: Reason | None = None
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Fetching:
    """Getting the artifact and the parameters of an offer."""

    offer: RoundOffer


@dataclass(frozen=True, slots=True)
class Training:
    """Training on local examples."""

    offer: RoundOffer


@dataclass(frozen=True, slots=True)
class Reporting:
    """Sending an update until the server's receipt comes."""

    offer: RoundOffer
    transfer: str


Busy: TypeAlias = Fetching | Training | Reporting
State: TypeAlias = Idle | Busy

# --- events -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offered:
    """The server offers a round; ``invited`` if this device is in its cohort."""

    offer: RoundOffer
    invited: bool


@dataclass(frozen=True, slots=True)
class Fetched:
    """Artifact and parameters are here, verified, and the self-test passed."""

    round: int


@dataclass(frozen=True, slots=True)
class Trained:
    """Local training ended with this update, ready to be sent."""

    round: int
    transfer: str
    update: bytes


@dataclass(frozen=True, slots=True)
class Receipted:
    """The server says what became of an update."""

    round: int
    transfer: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Failed:
    """Local work cannot go on."""

    round: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """The time the server gave for this round is over."""

    round: int


@dataclass(frozen=True, slots=True)
class RoundClosed:
    """The server withdrew the offer of this round."""

    round: int


@dataclass(frozen=True, slots=True)
class Leaving:
    """The agent is told to stop."""


Event: TypeAlias = (
    Offered
    | Fetched
    | Trained
    | Receipted
    | Failed
    | BudgetSpent
    | RoundClosed
    | Leaving
)

# --- effects ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get what the offer needs, and start counting its budget."""

    offer: RoundOffer


@dataclass(frozen=True, slots=True)
class Train:
    """Train as the offer's plan says."""

    offer: RoundOffer


@dataclass(frozen=True, slots=True)
class Report:
    """Send the update, again and again."""

    round: int
    update: bytes


@dataclass(frozen=True, slots=True)
class Stop:
    """End all work for this round: fetching, training, sending, counting."""

    round: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The update counts: its quantization error is what remains to be sent."""

    round: int


@dataclass(frozen=True, slots=True)
class FoldBack:
    """The update does not count: all of it remains to be sent."""

    round: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Tell the server that no update will come, and why."""

    round: int
    reason: Reason


Effect: TypeAlias = Fetch | Train | Report | Stop | Commit | FoldBack | Abandon
Outcome: TypeAlias = tuple[State, tuple[Effect, ...]]


def step(state: State, event: Event) -> Outcome:  # noqa: C901 - a row for each pair
    """Return the next state and what the shell must now do."""
    match event:
        case Offered(offer, invited):
            return _offered(state, offer, invited=invited)
        case Receipted():
            return _receipted(state, event)
    if isinstance(state, Idle):
        return _idle(state, event), ()
    if not isinstance(event, Leaving) and event.round != state.offer.round:
        return state, ()
    offer = state.offer
    match state, event:
        case Fetching(), Fetched():
            return Training(offer), (Train(offer),)
        case Training(), Trained(number, transfer, update):
            return Reporting(offer, transfer), (Report(number, update),)
        case Fetching() | Training(), Failed(number, reason):
            return Idle(offer, reason), (Stop(number), Abandon(number, reason))
        case Fetching() | Training(), BudgetSpent(number):
            reason = Reason.BUDGET_SPENT
            return Idle(offer, reason), (Stop(number), Abandon(number, reason))
        case Reporting(), BudgetSpent(number):
            return Idle(offer), (Stop(number),)
        case _, RoundClosed(number):
            return Idle(offer, closed=True), (Stop(number),)
        case _, Leaving():
            return Idle(offer), (
                Stop(offer.round),
                Abandon(offer.round, Reason.LEAVING),
            )
        case _:
            return state, ()


def _idle(state: Idle, event: Event) -> Idle:
    match state.done, event:
        case RoundOffer(number), RoundClosed(closed) if number == closed:
            return replace(state, closed=True)
        case _:
            return state


def _offered(state: State, offer: RoundOffer, *, invited: bool) -> Outcome:
    if isinstance(state, Idle):
        if invited and (state.closed or offer != state.done):
            return Fetching(offer), (Fetch(offer),)
        if invited and state.declined is not None:
            return state, (Abandon(offer.round, state.declined),)
        return state, ()
    # A later round means that this one is over. The same number with other content
    # comes from a server that began anew.
    current = state.offer
    if offer.round < current.round or offer == current:
        return state, ()
    if invited:
        return Fetching(offer), (Stop(current.round), Fetch(offer))
    return Idle(current), (Stop(current.round),)


def _receipted(state: State, receipt: Receipted) -> Outcome:
    match state:
        case Reporting(offer, transfer) if (receipt.round, receipt.transfer) == (
            offer.round,
            transfer,
        ):
            # Duplicate: the round counts what this device sent before it restarted,
            # which was trained from the same; folded back, it would count twice.
            counts = receipt.reason in (Reason.ACCEPTED, Reason.DUPLICATE)
            verdict = Commit(offer.round) if counts else FoldBack(offer.round)
            return Idle(offer), (Stop(offer.round), verdict)
    match receipt.reason:
        case Reason.ACCEPTED:
            return state, (Commit(receipt.round),)
        case Reason.ROUND_FAILED:
            return state, (FoldBack(receipt.round),)
        case _:
            return state, ()
