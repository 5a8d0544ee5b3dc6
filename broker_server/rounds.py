"""One round on the server: a state machine without I/O.

``step`` is the whole protocol of a round. What happened comes in as an event, what
should happen goes out as effects; ``service.py`` turns the one into the other. A pair
that has no row, and an event of another round, change nothing. Every effect may
happen twice. This module is pure.

An update that was accepted is *pending* until a merge brings it into a version. A round
that fails takes nothing back: what is pending is carried into the next one.

A device is *outstanding* until it reported or declined. The shell lets one that stays
offline for too long decline; should it come back with its update, that still counts.

Two policies share the machine. In a *sync* round the devices count whose update has the
round's version as its base, against goal, minimum and deadline; late updates join the
merge on top. In a *buffered* one every pending update counts against the goal, whoever
is free may join, and only the merge itself can fail.
"""

from dataclasses import replace
from typing import TypeAlias

from broker_server.records import Cause, Pending, Update
from broker_server.round_effects import (
    Acknowledge,
    Announce,
    Close,
    Effect,
    GiveUp,
    Keep,
    Merge,
    Offer,
    Withdraw,
)
from broker_server.round_events import (
    DeadlinePassed,
    Declined,
    Event,
    Exhausted,
    Joined,
    LateReported,
    Merged,
    MergeFailed,
    Reported,
    Resumed,
    Started,
)
from broker_server.round_states import Collecting, Failed, Merging, State, Waiting
from wire_protocol.errors import Reason

_Step: TypeAlias = tuple[State, tuple[Effect, ...]]


def step(state: State, event: Event) -> _Step:
    """Return the next state and what the shell must now do, in order."""
    match state, event:
        case _, Resumed(found):
            return _resume(found) if isinstance(state, Waiting) else (state, ())
        case ((Waiting() | Failed()), Started()):
            return _start(state, event)
        case _, LateReported(number, device, transfer, version):
            new = Pending(number, device, transfer, version)
            return _take(state, new, event.update)
        case Collecting(number), _ if event.round == number:
            return _collect(state, event)
        case Merging(number), _ if event.round == number:
            return _merge(state, event)
        case _:
            return state, ()


def _collect(state: Collecting, event: Event) -> _Step:
    match event:
        case Reported(number, device, transfer) if device in state.cohort:
            new = Pending(number, device, transfer, state.version)
            return _take(state, new, event.update)
        case Joined() if state.mode == "buffered" and event.devices - state.cohort:
            grown = replace(state, cohort=state.cohort | event.devices)
            return grown, (_offer(grown),)
        case Declined(_, device) if device in state.outstanding:
            return _settle(replace(state, declined=state.declined | {device}))
        case Exhausted() if state.mode == "buffered" and state.pending:
            return _close(state)
        case DeadlinePassed() if state.mode == "buffered":
            return _settle(replace(state, overdue=True))
        case DeadlinePassed():
            return _close(state, "deadline")
        case _:
            return state, ()


def _merge(state: Merging, event: Event) -> _Step:
    match event:
        case Reported(number, device, transfer):
            new = Pending(number, device, transfer, state.version)
            return _take(state, new, event.update)
        case Merged(number):
            return Waiting(state.pending), (Announce(number),)
        case MergeFailed(number):
            return Failed(number, state.pending), (GiveUp(number, state.taken),)
        case _:
            return state, ()


def _start(state: Waiting | Failed, event: Started) -> _Step:
    opened = Collecting(
        event.round,
        event.version,
        event.cohort,
        goal=event.goal,
        minimum=event.minimum,
        mode=event.mode,
        pending=state.pending,
    )
    if event.mode == "sync":
        size = len(event.cohort | opened.counted)
        opened = replace(opened, goal=min(event.goal, size) or size)
    settled, effects = _settle(opened)
    return settled, (_offer(opened), *effects)


def _resume(found: Waiting | Collecting | Merging) -> _Step:
    match found:
        case Collecting():
            settled, effects = _settle(found)
            return settled, (_offer(found), *effects)
        case Merging(number):
            return found, (Merge(number),)
        case Waiting():
            return found, ()


def _take(state: State, new: Pending, update: Update) -> _Step:
    """Keep an update; one that is known, or a second one, is only answered."""
    known = {(one.round, one.device): one.transfer for one in _accepted(state)}
    transfer = known.get((new.round, new.device))
    if transfer is not None:
        reason = Reason.ACCEPTED if new.transfer == transfer else Reason.DUPLICATE
        return state, (Acknowledge(new.round, new.device, new.transfer, reason),)
    kept: State = replace(state, pending=state.pending | {new})
    effects: tuple[Effect, ...] = ()
    if isinstance(kept, Collecting):
        kept = replace(kept, declined=kept.declined - {new.device})
        kept, effects = _settle(kept)
    receipt = Acknowledge(new.round, new.device, new.transfer, Reason.ACCEPTED)
    return kept, (Keep(update), receipt, *effects)


def _accepted(state: State) -> frozenset[Pending]:
    """Return what is in the machine's hands: pending, and taken by its merge."""
    taken = state.taken if isinstance(state, Merging) else ()
    return state.pending | frozenset(taken)


def _settle(state: Collecting) -> _Step:
    """Close the round when its goal is reached, or waiting longer changes nothing."""
    if state.mode == "buffered":
        enough = 1 if state.overdue else state.goal
        return _close(state) if len(state.pending) >= enough else (state, ())
    done = len(state.counted) >= state.goal or not state.outstanding
    if done or len(state.counted | state.outstanding) < state.minimum:
        return _close(state, "too few")
    return state, ()


def _close(state: Collecting, cause: Cause = "too few") -> _Step:
    """Merge what there is, or fail for ``cause`` if that is below the minimum."""
    if state.mode == "sync" and len(state.counted) < state.minimum:
        failed = Failed(state.round, state.pending)
        return failed, (Withdraw(state.round, cause, state.outstanding),)
    # Sorted, so that the merge does not depend on who came first.
    taken = tuple(sorted(state.pending))
    effects = Close(state.round, taken, state.outstanding), Merge(state.round)
    return Merging(state.round, state.version, taken), effects


def _offer(state: Collecting) -> Offer:
    return Offer(state.round, state.cohort, state.goal, state.minimum, state.mode)
