"""The device's round machine: every state meets every event."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.session import (
    Abandon,
    BudgetSpent,
    Commit,
    Effect,
    Event,
    Failed,
    Fetch,
    Fetched,
    Fetching,
    FoldBack,
    Idle,
    Leaving,
    Nudge,
    Offered,
    OutboxLost,
    Receipted,
    Report,
    Reporting,
    RoundClosed,
    State,
    Stop,
    Train,
    Trained,
    Training,
    resume,
    step,
    unrecorded,
)
from tests.edge_agent.offers import offer_of
from wire_protocol.errors import Reason
from wire_protocol.messages import RoundOffer


def _offer(number: int, *, late: int = 0) -> RoundOffer:
    """Return an offer of version ``number``, as states hold it."""
    offer = offer_of(number, version=number)
    return replace(offer, cohort=(), max_staleness=late)


O4, O5, O6 = (_offer(number) for number in (4, 5, 6))
LATE = _offer(5, late=2)
O7, O8 = _offer(7), _offer(8)
O5_ANEW = replace(O5, version=0)
T5 = "5" * 16

STATES: dict[str, State] = {
    "fresh": Idle(),
    "idle": Idle(O5),
    "declined": Idle(O5, Reason.FETCH_FAILED),
    "closed": Idle(O5, closed=True),
    "fetching": Fetching(O5),
    "training": Training(O5),
    "training late": Training(LATE),
    "reporting": Reporting(O5, T5),
    "reporting, next": Reporting(O5, T5, O6),
}
EVENTS: dict[str, Event] = {
    "offered": Offered(replace(O5, cohort=("a", "b")), invited=True),
    "offered to more": Offered(replace(O5, cohort=("a", "b", "c")), invited=True),
    "offered anew": Offered(O5_ANEW, invited=True),
    "offered next": Offered(O6, invited=True),
    "offered next to others": Offered(O6, invited=False),
    "offered far": Offered(O8, invited=True),
    "offered far to others": Offered(O8, invited=False),
    "offered past": Offered(O4, invited=True),
    "fetched": Fetched(5),
    "fetched past": Fetched(4),
    "trained": Trained(5, T5),
    "trained past": Trained(4, T5),
    "accepted": Receipted(5, T5, Reason.ACCEPTED),
    "refused": Receipted(5, T5, Reason.NOT_FINITE),
    "stale": Receipted(5, T5, Reason.STALE),
    "unreadable": Receipted(9, T5, Reason.MALFORMED),
    "duplicate": Receipted(5, T5, Reason.DUPLICATE),
    "round failed": Receipted(5, T5, Reason.ROUND_FAILED),
    "other accepted": Receipted(5, "6" * 16, Reason.ACCEPTED),
    "other refused": Receipted(5, "6" * 16, Reason.DUPLICATE),
    "past accepted": Receipted(4, "4" * 16, Reason.ACCEPTED),
    "past refused": Receipted(4, "4" * 16, Reason.WRONG_ROUND),
    "past failed": Receipted(4, "4" * 16, Reason.ROUND_FAILED),
    "failed": Failed(5, Reason.FETCH_FAILED),
    "failed past": Failed(4, Reason.FETCH_FAILED),
    "outbox lost": OutboxLost(5, T5),
    "other outbox lost": OutboxLost(5, "6" * 16),
    "budget spent": BudgetSpent(5),
    "budget of past spent": BudgetSpent(4),
    "closed": RoundClosed(5),
    "past closed": RoundClosed(4),
    "next closed": RoundClosed(6),
    "leaving": Leaving(),
}
OFFERS = {name for name in EVENTS if name.startswith("offered")}

Row = tuple[State, tuple[Effect, ...]]


def _begun(offer: RoundOffer, *before: Effect) -> Row:
    return Fetching(offer), (*before, Fetch(offer))


def _given_up(offer: RoundOffer, reason: Reason) -> Row:
    return Idle(offer, reason), (Stop(5), Abandon(5, reason))


STOPPED: Row = Idle(O5), (Stop(5),)
CLOSED: Row = Idle(O5, closed=True), (Stop(5),)
FETCH_FAILED = _given_up(O5, Reason.FETCH_FAILED)
SPENT = _given_up(O5, Reason.BUDGET_SPENT)
LOST = _given_up(O5, Reason.TRAINING_FAILED)
NUDGED: Row = Reporting(O5, T5), (Nudge(5),)
NUDGED_NEXT: Row = Reporting(O5, T5, O6), (Nudge(5),)
COMMIT, FOLD_BACK = Commit(5, T5), FoldBack(5, T5)
LEAVE = (Stop(5), Abandon(5, Reason.LEAVING))

TABLE: dict[tuple[str, str], Row] = {
    ("fresh", "offered"): _begun(O5),
    ("fresh", "offered to more"): _begun(O5),
    ("fresh", "offered anew"): _begun(O5_ANEW),
    ("fresh", "offered next"): _begun(O6),
    ("fresh", "offered far"): _begun(O8),
    ("fresh", "offered past"): _begun(O4),
    ("idle", "offered anew"): _begun(O5_ANEW),
    ("idle", "offered next"): _begun(O6),
    ("idle", "offered far"): _begun(O8),
    ("idle", "offered past"): _begun(O4),
    ("idle", "closed"): (Idle(O5, closed=True), ()),
    ("declined", "offered"): (STATES["declined"], (Abandon(5, Reason.FETCH_FAILED),)),
    ("declined", "offered to more"): (
        STATES["declined"],
        (Abandon(5, Reason.FETCH_FAILED),),
    ),
    ("declined", "offered anew"): _begun(O5_ANEW),
    ("declined", "offered next"): _begun(O6),
    ("declined", "offered far"): _begun(O8),
    ("declined", "offered past"): _begun(O4),
    ("declined", "closed"): (Idle(O5, Reason.FETCH_FAILED, closed=True), ()),
    ("closed", "offered"): _begun(O5),
    ("closed", "offered to more"): _begun(O5),
    ("closed", "offered anew"): _begun(O5_ANEW),
    ("closed", "offered next"): _begun(O6),
    ("closed", "offered far"): _begun(O8),
    ("closed", "offered past"): _begun(O4),
    ("fetching", "offered anew"): _begun(O5_ANEW, Stop(5)),
    ("fetching", "offered next"): _begun(O6, Stop(5)),
    ("fetching", "offered next to others"): STOPPED,
    ("fetching", "offered far"): _begun(O8, Stop(5)),
    ("fetching", "offered far to others"): STOPPED,
    ("fetching", "fetched"): (Training(O5), (Train(O5),)),
    ("fetching", "failed"): FETCH_FAILED,
    ("fetching", "budget spent"): SPENT,
    ("fetching", "closed"): CLOSED,
    ("fetching", "leaving"): (Fetching(O5), LEAVE),
    ("training", "offered anew"): _begun(O5_ANEW, Stop(5)),
    ("training", "offered next"): _begun(O6, Stop(5)),
    ("training", "offered next to others"): STOPPED,
    ("training", "offered far"): _begun(O8, Stop(5)),
    ("training", "offered far to others"): STOPPED,
    ("training", "trained"): (Reporting(O5, T5), (Report(5, T5),)),
    ("training", "failed"): FETCH_FAILED,
    ("training", "budget spent"): SPENT,
    ("training", "closed"): CLOSED,
    ("training", "leaving"): (Training(O5), LEAVE),
    # a late update counts: nothing but its own staleness ends the training
    ("training late", "offered"): _begun(O5, Stop(5)),
    ("training late", "offered to more"): _begun(O5, Stop(5)),
    ("training late", "offered anew"): _begun(O5_ANEW, Stop(5)),
    ("training late", "offered next"): (Training(LATE), (Abandon(6, Reason.BUSY),)),
    ("training late", "offered far"): _begun(O8, Stop(5)),
    ("training late", "offered far to others"): (Idle(LATE), (Stop(5),)),
    ("training late", "trained"): (Reporting(LATE, T5), (Report(5, T5),)),
    ("training late", "failed"): _given_up(LATE, Reason.FETCH_FAILED),
    ("training late", "leaving"): (Training(LATE), LEAVE),
    # only the receipt ends it; whoever offers something does not have the update
    ("reporting", "offered"): NUDGED,
    ("reporting", "offered to more"): NUDGED,
    ("reporting", "offered anew"): (Reporting(O5, T5, O5_ANEW), (Nudge(5),)),
    ("reporting", "offered next"): NUDGED_NEXT,
    ("reporting", "offered far"): (Reporting(O5, T5, O8), (Nudge(5),)),
    ("reporting", "accepted"): (Idle(O5), (Stop(5), COMMIT)),
    ("reporting", "refused"): (Idle(O5), (Stop(5), FOLD_BACK)),
    ("reporting", "stale"): (Idle(O5), (Stop(5), FOLD_BACK)),
    ("reporting", "unreadable"): (Idle(O5), (Stop(5), FOLD_BACK)),
    ("reporting", "duplicate"): (Idle(O5), (Stop(5), COMMIT)),
    ("reporting", "round failed"): (Idle(O5), (Stop(5), FOLD_BACK)),
    ("reporting", "outbox lost"): LOST,
    ("reporting", "leaving"): (Reporting(O5, T5), (Stop(5),)),
    ("reporting, next", "offered"): NUDGED_NEXT,
    ("reporting, next", "offered to more"): NUDGED_NEXT,
    ("reporting, next", "offered anew"): NUDGED_NEXT,
    ("reporting, next", "offered next"): NUDGED_NEXT,
    ("reporting, next", "offered far"): (Reporting(O5, T5, O8), (Nudge(5),)),
    ("reporting, next", "offered far to others"): (Reporting(O5, T5), ()),
    ("reporting, next", "accepted"): _begun(O6, Stop(5), COMMIT),
    ("reporting, next", "refused"): _begun(O6, Stop(5), FOLD_BACK),
    ("reporting, next", "stale"): _begun(O6, Stop(5), FOLD_BACK),
    ("reporting, next", "unreadable"): _begun(O6, Stop(5), FOLD_BACK),
    ("reporting, next", "duplicate"): _begun(O6, Stop(5), COMMIT),
    ("reporting, next", "round failed"): _begun(O6, Stop(5), FOLD_BACK),
    ("reporting, next", "outbox lost"): _begun(
        O6, Stop(5), Abandon(5, Reason.TRAINING_FAILED)
    ),
    ("reporting, next", "next closed"): (Reporting(O5, T5), ()),
    ("reporting, next", "leaving"): (Reporting(O5, T5, O6), (Stop(5),)),
}
# A merge that is not finite gives its updates up, whatever the device does by then.
TAKEN_BACK: dict[str, tuple[Effect, ...]] = {
    "round failed": (FOLD_BACK,),
    "past failed": (FoldBack(4, "4" * 16),),
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_every_state_meets_every_event(state: str, event: str) -> None:
    unlisted = STATES[state], TAKEN_BACK.get(event, ())
    assert step(STATES[state], EVENTS[event]) == TABLE.get((state, event), unlisted)


def test_the_distance_that_a_late_update_may_have_is_the_offers() -> None:
    for offer, kept in ((O6, True), (O7, True), (O8, False)):
        state, _ = step(Training(LATE), Offered(offer, invited=True))
        assert (state == Training(LATE)) == kept


@given(st.lists(st.sampled_from(sorted(EVENTS.keys() - {"leaving"})), max_size=30))
def test_work_is_stopped_before_other_work_begins(events: list[str]) -> None:
    state: State = Idle()
    working = None
    for event in events:
        state, effects = step(state, EVENTS[event])
        for effect in effects:
            match effect:
                case Stop(number):
                    assert number == working
                    working = None
                case Fetch(offer):
                    assert working is None
                    working = offer.round
                case Train(offer):
                    assert working == offer.round
                case Report(number) | Nudge(number):
                    assert working == number
                case _:
                    pass
        assert isinstance(state, Idle) == (working is None)


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=30))
def test_an_event_that_comes_twice_begins_no_work_twice(events: list[str]) -> None:
    state: State = Idle()
    for event in events:
        state, _ = step(state, EVENTS[event])
        again, effects = step(state, EVENTS[event])
        if event not in OFFERS:
            assert again == state
            assert not [e for e in effects if isinstance(e, Fetch | Train | Report)]


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=30))
def test_an_outbox_is_left_by_its_own_receipt_only(events: list[str]) -> None:
    state: State = Idle()
    for event in events:
        before = state
        state, effects = step(before, EVENTS[event])
        verdicts = [one for one in effects if isinstance(one, Commit)]
        if isinstance(before, Reporting) and not isinstance(state, Reporting):
            assert event in {
                *("accepted", "refused", "stale", "duplicate", "round failed"),
                "unreadable",
                "outbox lost",
            }
        else:
            assert not verdicts


@pytest.mark.parametrize("name", STATES)
def test_what_is_written_down_is_gone_on_with(name: str) -> None:
    state = STATES[name]
    expected: dict[type[State], tuple[type[Effect], ...]] = {
        Idle: (),
        Fetching: (Fetch,),
        Training: (Train,),
        Reporting: (Report,),
    }
    assert tuple(type(one) for one in resume(state)) == expected[type(state)]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_nothing_is_begun_that_cannot_be_written_down(state: str, event: str) -> None:
    before = STATES[state]
    outcome = step(before, EVENTS[event])
    after, effects = unrecorded(before, outcome)
    begun = [one for one in effects if isinstance(one, Fetch | Train | Report)]
    assert not begun
    if after == outcome[0]:
        assert effects == outcome[1]
        return
    assert isinstance(after, Idle)
    assert after.done is not None
    assert after.declined is Reason.LOW_DISK
    assert effects[-1] == Abandon(after.done.round, Reason.LOW_DISK)
    # what was under way ends, and its verdict counts
    assert (Stop(5) in effects) == (not isinstance(before, Idle))
    assert [one for one in effects if isinstance(one, Commit | FoldBack)] == [
        one for one in outcome[1] if isinstance(one, Commit | FoldBack)
    ]
