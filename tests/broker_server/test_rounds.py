"""The round's table: every state meets every event."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.rounds import (
    Acknowledge,
    Announce,
    Collecting,
    DeadlinePassed,
    Declined,
    Effect,
    Event,
    Failed,
    Interrupted,
    Keep,
    Merge,
    Merged,
    MergeFailed,
    Merging,
    Offer,
    Reported,
    Started,
    State,
    Waiting,
    Withdraw,
    step,
)
from wire_protocol.errors import Reason

COHORT = frozenset({"a", "b", "c"})
OPEN = Collecting(7, COHORT, goal=3, minimum=2)
STATES: dict[str, State] = {
    "waiting": Waiting(),
    "failed": Failed(6),
    "empty": OPEN,
    "one": replace(OPEN, reported={"a": "t1"}),
    "two": replace(OPEN, reported={"a": "t1", "b": "t2"}),
    "declined": replace(OPEN, reported={"a": "t1"}, declined=frozenset({"b"})),
    "merging": Merging(7, {"a": "t1", "b": "t2"}),
}
EVENTS: dict[str, Event] = {
    "start": Started(7, COHORT, goal=0, minimum=2),
    "a": Reported(7, "a", "t1"),
    "a differs": Reported(7, "a", "t9"),
    "c": Reported(7, "c", "t3"),
    "stranger": Reported(7, "x", "t4"),
    "c declines": Declined(7, "c"),
    "a declines": Declined(7, "a"),
    "stranger declines": Declined(7, "x"),
    "deadline": DeadlinePassed(7),
    "stop": Interrupted(7),
    "merged": Merged(7),
    "merge failed": MergeFailed(7),
}


def kept(device: str, transfer: str) -> tuple[Effect, Effect]:
    return Keep(7, device, transfer), ack(device, transfer)


def ack(device: str, transfer: str, reason: Reason = Reason.ACCEPTED) -> Effect:
    return Acknowledge(7, device, transfer, reason)


ONE, TWO = {"a": "t1"}, {"a": "t1", "b": "t2"}
AC, ABC = {"a": "t1", "c": "t3"}, {"a": "t1", "b": "t2", "c": "t3"}
AGAIN = (ack("a", "t1"),)
OTHER = (ack("a", "t9", Reason.DUPLICATE),)
C_OUT, B_OUT = frozenset({"c"}), frozenset({"b"})
MERGE_AB = Merge(7, ("a", "b"))

# The whole protocol of a round. Every pair that is not listed stays where it is.
MOVES: dict[tuple[str, str], tuple[State, tuple[Effect, ...]]] = {
    ("waiting", "start"): (OPEN, (Offer(7, COHORT),)),
    ("failed", "start"): (OPEN, (Offer(7, COHORT),)),
    ("empty", "a"): (STATES["one"], kept("a", "t1")),
    ("empty", "a differs"): (replace(OPEN, reported={"a": "t9"}), kept("a", "t9")),
    ("empty", "c"): (replace(OPEN, reported={"c": "t3"}), kept("c", "t3")),
    ("empty", "c declines"): (replace(OPEN, declined=C_OUT), ()),
    ("empty", "a declines"): (replace(OPEN, declined=frozenset({"a"})), ()),
    ("empty", "deadline"): (Failed(7), (Withdraw(7, {}, "deadline"),)),
    ("empty", "stop"): (Failed(7), (Withdraw(7, {}, "stopped"),)),
    ("one", "a"): (STATES["one"], AGAIN),
    ("one", "a differs"): (STATES["one"], OTHER),
    ("one", "c"): (replace(OPEN, reported=AC), kept("c", "t3")),
    ("one", "c declines"): (replace(OPEN, reported=ONE, declined=C_OUT), ()),
    ("one", "deadline"): (Failed(7), (Withdraw(7, ONE, "deadline"),)),
    ("one", "stop"): (Failed(7), (Withdraw(7, ONE, "stopped"),)),
    ("two", "a"): (STATES["two"], AGAIN),
    ("two", "a differs"): (STATES["two"], OTHER),
    ("two", "c"): (Merging(7, ABC), (*kept("c", "t3"), Merge(7, ("a", "b", "c")))),
    ("two", "c declines"): (STATES["merging"], (MERGE_AB,)),
    ("two", "deadline"): (STATES["merging"], (MERGE_AB,)),
    ("two", "stop"): (Failed(7), (Withdraw(7, TWO, "stopped"),)),
    ("declined", "a"): (STATES["declined"], AGAIN),
    ("declined", "a differs"): (STATES["declined"], OTHER),
    ("declined", "c"): (Merging(7, AC), (*kept("c", "t3"), Merge(7, ("a", "c")))),
    # Two of three are out of reach, so nobody need wait for the deadline.
    ("declined", "c declines"): (Failed(7), (Withdraw(7, ONE, "too few"),)),
    ("declined", "deadline"): (Failed(7), (Withdraw(7, ONE, "deadline"),)),
    ("declined", "stop"): (Failed(7), (Withdraw(7, ONE, "stopped"),)),
    ("merging", "a"): (STATES["merging"], AGAIN),
    ("merging", "a differs"): (STATES["merging"], OTHER),
    ("merging", "merged"): (Waiting(), (Announce(7),)),
    ("merging", "merge failed"): (Failed(7), (Withdraw(7, TWO, "merge"),)),
}


@pytest.mark.parametrize(
    ("state", "event"), list(itertools.product(STATES, EVENTS)), ids="-".join
)
def test_every_state_meets_every_event(state: str, event: str) -> None:
    before = STATES[state]
    expected = MOVES.get((state, event), (before, ()))
    assert step(before, EVENTS[event]) == expected


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", [name for name in EVENTS if name != "start"])
def test_an_echo_of_another_round_changes_nothing(state: str, event: str) -> None:
    echo = replace(EVENTS[event], round=6)
    assert step(STATES[state], echo) == (STATES[state], ())


def test_a_goal_below_the_cohort_merges_when_it_is_reached() -> None:
    state, _ = step(Waiting(), Started(7, COHORT, goal=1, minimum=1))
    merging, effects = step(state, Reported(7, "c", "t3"))
    assert merging == Merging(7, {"c": "t3"})
    assert effects[-1] == Merge(7, ("c",))


def test_who_declined_may_still_report() -> None:
    declined, _ = step(STATES["empty"], Declined(7, "a"))
    state, effects = step(declined, Reported(7, "a", "t1"))
    assert (state, effects) == (STATES["one"], kept("a", "t1"))


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=30))
def test_a_device_is_kept_once_and_stored_before_it_is_answered(
    names: list[str],
) -> None:
    state: State = OPEN
    stored: list[str] = []
    for name in names:
        if name == "start":
            continue
        state, effects = step(state, EVENTS[name])
        for effect in effects:
            if isinstance(effect, Keep):
                stored.append(effect.device)
            if isinstance(effect, Acknowledge) and effect.reason == Reason.ACCEPTED:
                assert effect.device in stored
            if isinstance(effect, Merge):
                assert effect.devices == tuple(sorted(stored))
    assert len(stored) == len(set(stored))


def test_a_round_that_nobody_is_left_to_serve_fails_at_once_and_says_why() -> None:
    state, _ = step(Waiting(), Started(7, frozenset({"a"}), goal=0, minimum=1))
    assert step(state, Declined(7, "a")) == (Failed(7), (Withdraw(7, {}, "too few"),))
