"""One device's part in one round: a state machine without I/O.

``step`` takes what happened and returns what must now be done; the shell in
``service.py`` writes the new state down, does it, and feeds the outcome back. MQTT
repeats, reorders and loses, so an event of another round is an echo, a pair without a
row changes nothing, and every effect may happen twice: after a restart ``resume`` gives
those of the state that was written down. This module is pure.

    Idle -> Fetching -> Training -> Reporting -> Idle

A round ends for the device when the *server's receipt* comes, not at PUBACK: until then
it is Reporting, whatever else is closed or offered. Where the offer allows late updates
training goes on too when its round is over.
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
    """Sending an update until the server's receipt comes; ``next`` waits for that."""

    offer: RoundOffer
    transfer: str
    next: RoundOffer | None = None


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
    """Local training ended; the update is in the outbox, under this transfer."""

    round: int
    transfer: str


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
class OutboxLost:
    """The update that is to be sent can no longer be read."""

    round: int
    transfer: str


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
    """The agent is told to stop; its state stays, for the next start."""


Event: TypeAlias = (
    Offered
    | Fetched
    | Trained
    | Receipted
    | Failed
    | OutboxLost
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
    """Train as the offer's plan says, from the last checkpoint if there is one."""

    offer: RoundOffer


@dataclass(frozen=True, slots=True)
class Report:
    """Send the update in the outbox, again and again."""

    round: int
    transfer: str


@dataclass(frozen=True, slots=True)
class Nudge:
    """Send it again now: the server may have forgotten it."""

    round: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End all work for this round: fetching, training, sending, counting."""

    round: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The update counts: its quantization error is what remains to be sent."""

    round: int
    transfer: str


@dataclass(frozen=True, slots=True)
class FoldBack:
    """The update does not count: all of it remains to be sent."""

    round: int
    transfer: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """Tell the server that no update will come, and why."""

    round: int
    reason: Reason


Effect: TypeAlias = Fetch | Train | Report | Nudge | Stop | Commit | FoldBack | Abandon
Outcome: TypeAlias = tuple[State, tuple[Effect, ...]]


def step(state: State, event: Event) -> Outcome:  # noqa: C901, PLR0912 - a row a pair
    """Return the next state and what the shell must now do."""
    match event:
        case Offered(offer, invited):
            # The cohort grows while a buffered round is open; the offer is the same.
            return _offered(state, replace(offer, cohort=()), invited=invited)
        case Receipted():
            return _receipted(state, event)
    if isinstance(state, Idle):
        return _idle(state, event), ()
    if isinstance(event, Leaving):
        return _left(state)
    offer = state.offer
    match state, event:
        case Reporting(next=RoundOffer(number)), RoundClosed(closed) if (
            closed == number
        ):
            return replace(state, next=None), ()
        case _ if event.round != offer.round:
            return state, ()
        case Fetching(), Fetched():
            return Training(offer), (Train(offer),)
        case Training(), Trained(number, transfer):
            return Reporting(offer, transfer), (Report(number, transfer),)
        case Fetching() | Training(), Failed(number, reason):
            return Idle(offer, reason), (Stop(number), Abandon(number, reason))
        case Reporting(transfer=sent), OutboxLost(number, transfer) if sent == transfer:
            reason = Reason.TRAINING_FAILED
            return _reported(state, Abandon(number, reason), declined=reason)
        case Reporting(), _:
            return state, ()
        case Training(
            RoundOffer(max_staleness=late)
        ), BudgetSpent() | RoundClosed() if late > 0:
            return state, ()
        case _, BudgetSpent(number):
            reason = Reason.BUDGET_SPENT
            return Idle(offer, reason), (Stop(number), Abandon(number, reason))
        case _, RoundClosed(number):
            return Idle(offer, closed=True), (Stop(number),)
        case _:
            return state, ()


def resume(state: State) -> tuple[Effect, ...]:
    """Return the effects of a state that a former process wrote down."""
    match state:
        case Fetching(offer):
            return (Fetch(offer),)
        case Training(offer):
            return (Train(offer),)
        case Reporting(offer, transfer):
            return (Report(offer.round, transfer),)
        case _:
            return ()


def unrecorded(before: State, outcome: Outcome) -> Outcome:
    """Return what to do instead of ``outcome``, whose state could not be written down.

    What has no durable record is not begun. What ends may end: a restart finds the
    record of its beginning, does it again, and learns of its end again.
    """
    after, effects = outcome
    if isinstance(after, Idle) or _same_work(before, after):
        return outcome
    offer, reason = after.offer, Reason.LOW_DISK
    kept = tuple(e for e in effects if not isinstance(e, Fetch | Train | Report))
    if not isinstance(before, Idle) and Stop(before.offer.round) not in kept:
        kept = (Stop(before.offer.round), *kept)
    return Idle(offer, reason), (*kept, Abandon(offer.round, reason))


def _same_work(before: State, after: Busy) -> bool:
    return type(before) is type(after) and before.offer == after.offer


def _idle(state: Idle, event: Event) -> Idle:
    match state.done, event:
        case RoundOffer(number), RoundClosed(closed) if number == closed:
            return replace(state, closed=True)
        case _:
            return state


def _left(state: Busy) -> Outcome:
    """End the work but keep the state; an update in the outbox will come later."""
    number = state.offer.round
    if isinstance(state, Reporting):
        return state, (Stop(number),)
    return state, (Stop(number), Abandon(number, Reason.LEAVING))


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
    if offer.round < current.round:
        return state, ()
    if isinstance(state, Reporting):
        return _offered_meanwhile(state, offer, invited=invited)
    if offer == current:
        return state, ()
    if (
        isinstance(state, Training)
        and offer.round > current.round
        and offer.version - current.version <= current.max_staleness > 0
    ):
        return state, (Abandon(offer.round, Reason.BUSY),) if invited else ()
    if invited:
        return Fetching(offer), (Stop(current.round), Fetch(offer))
    return Idle(current), (Stop(current.round),)


def _offered_meanwhile(
    state: Reporting, offer: RoundOffer, *, invited: bool
) -> Outcome:
    """Remember an offer that comes before the receipt, and ask for that receipt."""
    if not invited:
        over = state.next is not None and offer.round > state.next.round
        return replace(state, next=None) if over else state, ()
    if offer != state.offer and (state.next is None or offer.round >= state.next.round):
        state = replace(state, next=offer)
    return state, (Nudge(state.offer.round),)


def _receipted(state: State, receipt: Receipted) -> Outcome:
    # The transfer alone says which update is meant: it names its content, and the
    # server cannot tell the round of what it could not read.
    number, transfer = receipt.round, receipt.transfer
    match state:
        case Reporting(offer, sent) if transfer == sent:
            # Duplicate: the round counts another update of this device, which was
            # trained from the same base; folded back, it would count twice.
            counts = receipt.reason in (Reason.ACCEPTED, Reason.DUPLICATE)
            verdict = (Commit if counts else FoldBack)(offer.round, transfer)
            return _reported(state, verdict)
        case _ if receipt.reason is Reason.ROUND_FAILED:
            # it was accepted, and then its merge was not finite
            return state, (FoldBack(number, transfer),)
        case _:
            return state, ()


def _reported(
    state: Reporting, effect: Effect, *, declined: Reason | None = None
) -> Outcome:
    """End reporting with ``effect``, and begin what waited for that."""
    ending = (Stop(state.offer.round), effect)
    if state.next is not None:
        return Fetching(state.next), (*ending, Fetch(state.next))
    return Idle(state.offer, declined), ending
