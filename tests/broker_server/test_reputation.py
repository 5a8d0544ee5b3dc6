"""Reputations: how faults add up, and that quarantine stays for the few."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.assessment import Assessment, Fault
from broker_server.guard_settings import GuardSection
from broker_server.reputation import (
    LONGEST_ROUNDS,
    OFFENCES,
    SENTENCES,
    Reputation,
    after_merge,
    has_room,
    offended,
    struck,
)
from broker_server.store import Store
from wire_protocol.errors import Reason

GUARD = GuardSection(strikes=3, quarantine_rounds=4)
FLEET = ("a", "b", "c", "d", "e")


def update(device: str, *, good: bool = True) -> Assessment:
    length = 1.0 if good else 1000.0
    return Assessment(device, length, 0.3, 0.0, copied=False, compared=len(FLEET))


def after(
    rounds: Sequence[frozenset[str]], *, guard: GuardSection = GUARD, least: int = 1
) -> dict[str, Reputation]:
    """Return the reputations after rounds in which these devices were at fault."""
    known: dict[str, Reputation] = {}
    for number, faulty in enumerate(rounds, start=1):
        assessments = [
            update(name, good=name not in faulty)
            for name in FLEET
            if name not in known or known[name].standing(number) != "quarantined"
        ]
        for one in after_merge(
            known.values(), assessments, number=number, guard=guard, least=least
        ):
            known[one.device] = one
    return known


def test_a_device_that_misbehaves_again_and_again_is_put_in_quarantine() -> None:
    liar = frozenset({"a"})
    twice, thrice = after([liar] * 2)["a"], after([liar] * 3)["a"]
    assert (twice.standing(3), twice.quarantines) == ("good", 0)
    assert [thrice.standing(number) for number in (4, 7, 8)] == [
        "quarantined",
        "quarantined",
        "probation",
    ]
    assert thrice.reason == Fault.TOO_LONG
    assert thrice.sentence == SENTENCES[Fault.TOO_LONG]


def test_one_fault_on_probation_is_enough_for_twice_as_many_rounds() -> None:
    lasted = []
    one = Reputation("a", strikes=2.0)
    for _ in range(4):
        number = one.until + 1
        one = struck(one, Fault.AGAINST, number=number, guard=GUARD)
        lasted.append(one.until - number)
    assert lasted == [4, 8, 16, 32]


def test_good_updates_end_a_probation() -> None:
    rounds = [frozenset({"a"})] * 3 + [frozenset[str]()] * 8
    one = after(rounds)["a"]
    assert (one.strikes, one.standing(12)) == (0.0, "good")


@given(st.lists(st.frozensets(st.sampled_from(FLEET)), max_size=40))
def test_those_in_quarantine_are_a_minority_whatever_happens(
    rounds: list[frozenset[str]],
) -> None:
    known = after(rounds)
    out = [
        one for one in known.values() if one.standing(len(rounds) + 1) == "quarantined"
    ]
    assert len(out) * 2 < len(FLEET)


@given(st.lists(st.frozensets(st.sampled_from(FLEET)), max_size=40), st.integers(1, 5))
def test_enough_devices_are_left_to_hold_rounds_with(
    rounds: list[frozenset[str]], least: int
) -> None:
    known = after(rounds, least=least)
    left = [
        one for one in known.values() if one.standing(len(rounds) + 1) != "quarantined"
    ]
    assert len(left) >= (least if known else 0)


@given(st.lists(st.booleans(), max_size=60))
def test_a_fault_in_every_fourth_update_is_forgiven(luck: list[bool]) -> None:
    rounds = [
        frozenset({"a"}) if number % 4 == 0 and bad else frozenset[str]()
        for number, bad in enumerate(luck)
    ]
    assert not after(rounds).get("a", Reputation("a")).quarantines


def test_nobody_is_put_in_quarantine_where_that_is_off() -> None:
    guard = GuardSection(quarantine=False, strikes=1)
    one = after([frozenset({"a"})] * 9, guard=guard)["a"]
    assert (one.quarantines, one.until, one.faults) == (0, 0, 9)


@given(st.integers(0, 60), st.integers(1, 10**6))
def test_no_quarantine_is_for_ever(quarantines: int, number: int) -> None:
    one = Reputation("a", strikes=2.0, quarantines=quarantines)
    again = struck(one, Fault.COPIED, number=number, guard=GUARD)
    assert number < again.until <= number + LONGEST_ROUNDS


@pytest.mark.parametrize("reason", list(Reason))
def test_only_what_must_be_its_own_fault_is_held_against_a_device(
    reason: Reason,
) -> None:
    one = Reputation("a")
    changed = offended(one, reason, number=1, guard=GUARD, spare=False)
    assert (changed != one) == (reason in OFFENCES)


def test_a_flood_of_messages_changes_nothing_any_more() -> None:
    for spare in (False, True):
        one, changes = Reputation("a"), 0
        for _ in range(1000):
            changed = offended(
                one, Reason.MALFORMED, number=5, guard=GUARD, spare=spare
            )
            changes += changed != one
            one = changed
        assert changes <= GUARD.strikes


def test_a_device_that_is_one_of_two_stays() -> None:
    known = [Reputation("a", judged=9), Reputation("b", judged=9)]
    assert not has_room(known, number=1, least=1)
    known.append(Reputation("c", judged=1))
    assert has_room(known, number=1, least=1)
    assert not has_room(known, number=1, least=3)


@pytest.mark.parametrize("cause", [*Fault, *sorted(OFFENCES)])
def test_every_cause_has_a_sentence(cause: str) -> None:
    assert Reputation("a", reason=cause).sentence


# --- in the store -----------------------------------------------------------------


def test_reputations_outlive_the_server(tmp_path: Path) -> None:
    known = tuple(after([frozenset({"b"})] * 3)[name] for name in FLEET)
    with Store.open(tmp_path) as store, store.together():
        store.reputation_log.keep(known)
    with Store.open(tmp_path) as store:
        assert store.reputations() == known
        assert store.reputation_log.of("b") == known[1]
        assert store.reputation_log.of("new") == Reputation("new")
        barred = [store.reputation_log.barred(number) for number in (3, 7, 8)]
        assert barred == [{"b"}, {"b"}, frozenset()]


def test_a_device_is_released(tmp_path: Path) -> None:
    liar = after([frozenset({"b"})] * 3)["b"]
    with Store.open(tmp_path) as store:
        with store.together():
            store.reputation_log.keep([liar])
        assert store.release("b")
        assert not store.release("b")
        assert not store.release("nobody")
        (after_it,) = store.reputations()
        assert (after_it.standing(5), after_it.strikes, after_it.reason) == (
            "good",
            0.0,
            "",
        )
        assert after_it.faults == 3


def test_the_table_of_reputations_is_bounded(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store, store.together():
        log = type(store.reputation_log)(store._db, most=2)
        log.keep([Reputation("a"), Reputation("b"), Reputation("c")])
        log.keep([Reputation("a", judged=5)])
        assert [(one.device, one.judged) for one in log.all()] == [("a", 5), ("b", 0)]
