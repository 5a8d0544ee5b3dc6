"""The round's table: every state meets every event."""

import itertools
from dataclasses import replace

import pytest

from broker_server.records import Participant, Pending, Update
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
from broker_server.rounds import step
from wire_protocol.errors import Reason

COHORT = frozenset({"a", "b", "c"})


def update(number: int, device: str, transfer: str) -> Update:
    one = Participant(number, 3, device, transfer, "", 10, 1, 0.5, 0.1, 9, 9, None)
    return Update(one, transfer.encode())


def reported(device: str, transfer: str, *, number: int = 7) -> Reported:
    return Reported(number, device, transfer, update(number, device, transfer))


def late(number: int, device: str, transfer: str, *, version: int) -> LateReported:
    new = update(number, device, transfer)
    return LateReported(number, device, transfer, version, new)


A, B, C = (Pending(7, name, f"t{name}", 3) for name in "abc")
OLD = Pending(5, "x", "tx", 2)  # late, with an older base
CARRIED = Pending(6, "x", "tx", 3)  # of a round that failed, with the same base
OPEN = Collecting(7, 3, COHORT, goal=3, minimum=2)
FREE = Collecting(7, 3, COHORT, goal=3, minimum=1, mode="buffered")
MERGING = Merging(7, 3, (A, B))
ONE = replace(OPEN, pending=frozenset({A}))
TWO = replace(FREE, pending=frozenset({A, OLD}))
STATES: dict[str, State] = {
    "waiting": Waiting(),
    "failed": Failed(6),
    "carried": Failed(6, frozenset({CARRIED})),
    "empty": OPEN,
    "one": ONE,
    "two": replace(OPEN, pending=frozenset({A, B})),
    "declined": replace(OPEN, pending=frozenset({A}), declined=frozenset({"b"})),
    "merging": MERGING,
    "buffered": FREE,
    "buffer of two": TWO,
}
EVENTS: dict[str, Event] = {
    "start": Started(7, 3, COHORT, goal=0, minimum=2),
    "resume": Resumed(ONE),
    "a": reported("a", "ta"),
    "a differs": reported("a", "t9"),
    "c": reported("c", "tc"),
    "stranger": reported("x", "t4"),
    "late": late(5, "x", "tx", version=2),
    "d joins": Joined(7, frozenset({"d"})),
    "c declines": Declined(7, "c"),
    "a declines": Declined(7, "a"),
    "stranger declines": Declined(7, "x"),
    "exhausted": Exhausted(7),
    "deadline": DeadlinePassed(7),
    "merged": Merged(7),
    "merge failed": MergeFailed(7),
}


def ack(one: Pending, reason: Reason = Reason.ACCEPTED) -> Effect:
    return Acknowledge(one.round, one.device, one.transfer, reason)


def kept(one: Pending) -> tuple[Effect, Effect]:
    return Keep(update(one.round, one.device, one.transfer)), ack(one)


def holding(state: str, *new: Pending) -> State:
    before = STATES[state]
    return replace(before, pending=before.pending | set(new))


def merge(
    *taken: Pending, version: int = 3, outstanding: str = ""
) -> tuple[State, tuple[Effect, ...]]:
    """Return where a closed round goes, and how."""
    effects = Close(7, taken, frozenset(outstanding)), Merge(7)
    return Merging(7, version, taken), effects


def after(
    *first: Effect, then: tuple[State, tuple[Effect, ...]]
) -> tuple[State, tuple[Effect, ...]]:
    return then[0], (*first, *then[1])


def failed(
    cause: str, *pending: Pending, outstanding: str = ""
) -> tuple[State, tuple[Effect, ...]]:
    effect = Withdraw(7, cause, frozenset(outstanding))  # type: ignore[arg-type]
    return Failed(7, frozenset(pending)), (effect,)


OFFER = Offer(7, COHORT, goal=3, minimum=2)
OTHER = Pending(7, "a", "t9", 3)
AGAIN = (ack(A),)
TWICE = (ack(OTHER, Reason.DUPLICATE),)
C_OUT = frozenset({"c"})
GROWN = COHORT | {"d"}
OVERDUE = replace(FREE, overdue=True)

# The whole protocol of a round. Every pair that is not listed stays where it is.
MOVES: dict[tuple[str, str], tuple[State, tuple[Effect, ...]]] = {
    ("waiting", "start"): (OPEN, (OFFER,)),
    ("waiting", "resume"): (STATES["one"], (OFFER,)),
    ("failed", "start"): (OPEN, (OFFER,)),
    # Who is carried counts: the whole cohort and x are waited for.
    ("carried", "start"): (
        replace(OPEN, goal=4, pending=frozenset({CARRIED})),
        (replace(OFFER, goal=4),),
    ),
    ("empty", "a"): (STATES["one"], kept(A)),
    ("empty", "a differs"): (holding("empty", OTHER), kept(OTHER)),
    ("empty", "c"): (holding("empty", C), kept(C)),
    ("empty", "c declines"): (replace(OPEN, declined=C_OUT), ()),
    ("empty", "a declines"): (replace(OPEN, declined=frozenset({"a"})), ()),
    ("empty", "deadline"): failed("deadline", outstanding="abc"),
    ("one", "a"): (STATES["one"], AGAIN),
    ("one", "a differs"): (STATES["one"], TWICE),
    ("one", "c"): (holding("one", C), kept(C)),
    ("one", "c declines"): (replace(ONE, declined=C_OUT), ()),
    ("one", "deadline"): failed("deadline", A, outstanding="bc"),
    ("two", "a"): (STATES["two"], AGAIN),
    ("two", "a differs"): (STATES["two"], TWICE),
    ("two", "c"): after(*kept(C), then=merge(A, B, C)),
    ("two", "c declines"): merge(A, B),
    # The slow one is no failure: its update will be a late one.
    ("two", "deadline"): merge(A, B, outstanding="c"),
    ("declined", "a"): (STATES["declined"], AGAIN),
    ("declined", "a differs"): (STATES["declined"], TWICE),
    ("declined", "c"): after(*kept(C), then=merge(A, C)),
    # Two of three are out of reach, so nobody need wait for the deadline.
    ("declined", "c declines"): failed("too few", A),
    ("declined", "deadline"): failed("deadline", A, outstanding="c"),
    ("merging", "a"): (MERGING, AGAIN),
    ("merging", "a differs"): (MERGING, TWICE),
    # It came too late for this merge, and is in time for the next one.
    ("merging", "c"): (holding("merging", C), kept(C)),
    ("merging", "stranger"): (
        holding("merging", Pending(7, "x", "t4", 3)),
        kept(Pending(7, "x", "t4", 3)),
    ),
    ("merging", "merged"): (Waiting(), (Announce(7),)),
    ("merging", "merge failed"): (Failed(7), (GiveUp(7, (A, B)),)),
    ("buffered", "a"): (holding("buffered", A), kept(A)),
    ("buffered", "a differs"): (holding("buffered", OTHER), kept(OTHER)),
    ("buffered", "c"): (holding("buffered", C), kept(C)),
    ("buffered", "d joins"): (
        replace(FREE, cohort=GROWN),
        (Offer(7, GROWN, goal=3, minimum=1, mode="buffered"),),
    ),
    ("buffered", "c declines"): (replace(FREE, declined=C_OUT), ()),
    ("buffered", "a declines"): (replace(FREE, declined=frozenset({"a"})), ()),
    ("buffered", "deadline"): (OVERDUE, ()),
    ("buffer of two", "a"): (STATES["buffer of two"], AGAIN),
    ("buffer of two", "a differs"): (STATES["buffer of two"], TWICE),
    # The third update makes the merge, whatever its base.
    ("buffer of two", "c"): after(*kept(C), then=merge(OLD, A, C, outstanding="b")),
    ("buffer of two", "late"): (STATES["buffer of two"], (ack(OLD),)),
    ("buffer of two", "d joins"): (
        replace(TWO, cohort=GROWN),
        (Offer(7, GROWN, goal=3, minimum=1, mode="buffered"),),
    ),
    ("buffer of two", "c declines"): (
        replace(TWO, declined=C_OUT),
        (),
    ),
    ("buffer of two", "exhausted"): merge(OLD, A, outstanding="bc"),
    ("buffer of two", "deadline"): merge(OLD, A, outstanding="bc"),
}
# A late update is taken in every state; in a sync round it does not count.
MOVES |= {
    (name, "late"): (holding(name, OLD), kept(OLD))
    for name in STATES
    if name not in ("carried", "buffer of two")
}
MOVES["carried", "late"] = (holding("carried", OLD), kept(OLD))


@pytest.mark.parametrize(
    ("state", "event"), list(itertools.product(STATES, EVENTS)), ids="-".join
)
def test_every_state_meets_every_event(state: str, event: str) -> None:
    before = STATES[state]
    expected = MOVES.get((state, event), (before, ()))
    assert step(before, EVENTS[event]) == expected


ECHOES = [name for name in EVENTS if name not in ("start", "resume", "late")]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", ECHOES)
def test_an_echo_of_another_round_changes_nothing(state: str, event: str) -> None:
    echo = replace(EVENTS[event], round=6)  # type: ignore[arg-type]
    assert step(STATES[state], echo) == (STATES[state], ())


def test_a_goal_below_the_cohort_merges_when_it_is_reached() -> None:
    state, _ = step(Waiting(), Started(7, 3, COHORT, goal=1, minimum=1))
    assert step(state, EVENTS["c"]) == after(*kept(C), then=merge(C, outstanding="ab"))


def test_who_declined_may_still_report() -> None:
    declined, _ = step(STATES["empty"], Declined(7, "a"))
    assert step(declined, EVENTS["a"]) == (STATES["one"], kept(A))


def test_a_round_that_nobody_is_left_to_serve_fails_at_once_and_says_why() -> None:
    state, _ = step(Waiting(), Started(7, 3, frozenset({"a"}), goal=0, minimum=1))
    assert step(state, Declined(7, "a")) == failed("too few")


def test_a_round_whose_updates_are_all_carried_merges_at_once() -> None:
    start = Started(7, 3, frozenset(), goal=1, minimum=1)
    offer = Offer(7, frozenset(), goal=1, minimum=1)
    assert step(STATES["carried"], start) == after(offer, then=merge(CARRIED))


def test_a_late_update_of_an_older_base_reaches_no_goal() -> None:
    start = Started(7, 3, frozenset({"a"}), goal=0, minimum=1)
    state, _ = step(Waiting(frozenset({OLD})), start)
    assert isinstance(state, Collecting)
    assert state.goal == 1
    assert step(state, EVENTS["a"]) == after(*kept(A), then=merge(OLD, A))


def test_after_its_deadline_a_buffered_round_merges_the_first_update() -> None:
    assert step(OVERDUE, EVENTS["a"]) == after(
        *kept(A), then=merge(A, outstanding="bc")
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Waiting(frozenset({OLD})), (Waiting(frozenset({OLD})), ())),
        (MERGING, (MERGING, (Merge(7),))),
        (
            replace(OPEN, pending=frozenset({A, B, C})),
            after(OFFER, then=merge(A, B, C)),
        ),
    ],
    ids=["with late updates", "in its merge", "with its goal reached"],
)
def test_a_server_resumes(
    found: Waiting | Collecting | Merging,
    expected: tuple[State, tuple[Effect, ...]],
) -> None:
    assert step(Waiting(), Resumed(found)) == expected
