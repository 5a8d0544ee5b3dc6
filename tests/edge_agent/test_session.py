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
    Offered,
    Receipted,
    Report,
    Reporting,
    RoundClosed,
    State,
    Stop,
    Train,
    Trained,
    Training,
    step,
)
from tests.edge_agent.offers import offer_of
from wire_protocol.errors import Reason

O4, O5, O6 = offer_of(4), offer_of(5), offer_of(6)
O5_ANEW = replace(O5, version=0)
T5 = "5" * 16

STATES: dict[str, State] = {
    "fresh": Idle(),
    "idle": Idle(O5),
    "declined": Idle(O5, Reason.FETCH_FAILED),
    "closed": Idle(O5, closed=True),
    "fetching": Fetching(O5),
    "training": Training(O5),
    "reporting": Reporting(O5, T5),
}
EVENTS: dict[str, Event] = {
    "offered": Offered(O5, invited=True),
    "offered anew": Offered(O5_ANEW, invited=True),
    "offered next": Offered(O6, invited=True),
    "offered next to others": Offered(O6, invited=False),
    "offered past": Offered(O4, invited=True),
    "fetched": Fetched(5),
    "fetched past": Fetched(4),
    "trained": Trained(5, T5, b"update"),
    "trained past": Trained(4, T5, b"update"),
    "accepted": Receipted(5, T5, Reason.ACCEPTED),
    "refused": Receipted(5, T5, Reason.NOT_FINITE),
    "duplicate": Receipted(5, T5, Reason.DUPLICATE),
    "round failed": Receipted(5, T5, Reason.ROUND_FAILED),
    "other accepted": Receipted(5, "6" * 16, Reason.ACCEPTED),
    "other refused": Receipted(5, "6" * 16, Reason.DUPLICATE),
    "past accepted": Receipted(4, "4" * 16, Reason.ACCEPTED),
    "past refused": Receipted(4, "4" * 16, Reason.WRONG_ROUND),
    "past failed": Receipted(4, "4" * 16, Reason.ROUND_FAILED),
    "failed": Failed(5, Reason.FETCH_FAILED),
    "failed past": Failed(4, Reason.FETCH_FAILED),
    "budget spent": BudgetSpent(5),
    "budget of past spent": BudgetSpent(4),
    "closed": RoundClosed(5),
    "past closed": RoundClosed(4),
    "leaving": Leaving(),
}

Row = tuple[State, tuple[Effect, ...]]
BEGUN: Row = Fetching(O5), (Fetch(O5),)
NEXT: Row = Fetching(O6), (Stop(5), Fetch(O6))
ANEW: Row = Fetching(O5_ANEW), (Stop(5), Fetch(O5_ANEW))
STOPPED: Row = Idle(O5), (Stop(5),)
CLOSED: Row = Idle(O5, closed=True), (Stop(5),)
FETCH_FAILED: Row = (
    Idle(O5, Reason.FETCH_FAILED),
    (Stop(5), Abandon(5, Reason.FETCH_FAILED)),
)
SPENT: Row = (
    Idle(O5, Reason.BUDGET_SPENT),
    (Stop(5), Abandon(5, Reason.BUDGET_SPENT)),
)
LEFT: Row = Idle(O5), (Stop(5), Abandon(5, Reason.LEAVING))

TABLE: dict[tuple[str, str], Row] = {
    ("fresh", "offered"): BEGUN,
    ("fresh", "offered anew"): (Fetching(O5_ANEW), (Fetch(O5_ANEW),)),
    ("fresh", "offered next"): (Fetching(O6), (Fetch(O6),)),
    ("fresh", "offered past"): (Fetching(O4), (Fetch(O4),)),
    ("idle", "offered anew"): (Fetching(O5_ANEW), (Fetch(O5_ANEW),)),
    ("idle", "offered next"): (Fetching(O6), (Fetch(O6),)),
    ("idle", "offered past"): (Fetching(O4), (Fetch(O4),)),
    ("idle", "closed"): (Idle(O5, closed=True), ()),
    ("declined", "offered"): (STATES["declined"], (Abandon(5, Reason.FETCH_FAILED),)),
    ("declined", "offered anew"): (Fetching(O5_ANEW), (Fetch(O5_ANEW),)),
    ("declined", "offered next"): (Fetching(O6), (Fetch(O6),)),
    ("declined", "offered past"): (Fetching(O4), (Fetch(O4),)),
    ("declined", "closed"): (Idle(O5, Reason.FETCH_FAILED, closed=True), ()),
    ("closed", "offered"): BEGUN,
    ("closed", "offered anew"): (Fetching(O5_ANEW), (Fetch(O5_ANEW),)),
    ("closed", "offered next"): (Fetching(O6), (Fetch(O6),)),
    ("closed", "offered past"): (Fetching(O4), (Fetch(O4),)),
    ("fetching", "offered anew"): ANEW,
    ("fetching", "offered next"): NEXT,
    ("fetching", "offered next to others"): STOPPED,
    ("fetching", "fetched"): (Training(O5), (Train(O5),)),
    ("fetching", "failed"): FETCH_FAILED,
    ("fetching", "budget spent"): SPENT,
    ("fetching", "closed"): CLOSED,
    ("fetching", "leaving"): LEFT,
    ("training", "offered anew"): ANEW,
    ("training", "offered next"): NEXT,
    ("training", "offered next to others"): STOPPED,
    ("training", "trained"): (Reporting(O5, T5), (Report(5, b"update"),)),
    ("training", "failed"): FETCH_FAILED,
    ("training", "budget spent"): SPENT,
    ("training", "closed"): CLOSED,
    ("training", "leaving"): LEFT,
    ("reporting", "offered anew"): ANEW,
    ("reporting", "offered next"): NEXT,
    ("reporting", "offered next to others"): STOPPED,
    ("reporting", "accepted"): (Idle(O5), (Stop(5), Commit(5))),
    ("reporting", "refused"): (Idle(O5), (Stop(5), FoldBack(5))),
    ("reporting", "duplicate"): (Idle(O5), (Stop(5), Commit(5))),
    ("reporting", "round failed"): (Idle(O5), (Stop(5), FoldBack(5))),
    ("reporting", "budget spent"): STOPPED,
    ("reporting", "closed"): CLOSED,
    ("reporting", "leaving"): LEFT,
}
# A late verdict moves the residual and nothing else, in every state.
LATE: dict[str, tuple[Effect, ...]] = {
    "accepted": (Commit(5),),
    "round failed": (FoldBack(5),),
    "other accepted": (Commit(5),),
    "past accepted": (Commit(4),),
    "past failed": (FoldBack(4),),
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_every_state_meets_every_event(state: str, event: str) -> None:
    unlisted = STATES[state], LATE.get(event, ())
    assert step(STATES[state], EVENTS[event]) == TABLE.get((state, event), unlisted)


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=30))
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
                case Report(number):
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
        if event != "offered past" and not event.startswith("offered"):
            assert again == state
            assert not [e for e in effects if isinstance(e, Fetch | Train | Report)]
