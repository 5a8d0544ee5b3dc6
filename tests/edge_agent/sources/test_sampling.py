"""Sampling: rows in time, and gaps where there is no data; nothing is made up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources.sampling import Arrivals, Clocked, Row


def test_rows_come_as_messages_do_and_silence_is_a_gap() -> None:
    arrivals = Arrivals(max_age_s=1.0)
    assert list(arrivals.take([(1.0, 2.0)], at=0)) == [None, (1.0, 2.0)]
    assert list(arrivals.take([(3.0, 4.0), (5.0, 6.0)], at=0.5)) == [
        (3.0, 4.0),
        (5.0, 6.0),
    ]
    assert list(arrivals.take([(1.0, None)], at=0.6)) == [None]
    assert list(arrivals.take([], at=0.7)) == [None]
    assert list(arrivals.take([(7.0, 8.0)], at=1.7)) == [(7.0, 8.0)]
    assert list(arrivals.take([(7.0, 8.0)], at=2.8)) == [None, (7.0, 8.0)]
    assert list(arrivals.take([(9.0, 9.0)], at=1.0)) == [None, (9.0, 9.0)]


def test_values_are_held_until_they_are_too_old() -> None:
    clocked = Clocked(channels=2, period_s=1.0, max_age_s=3.0)
    assert list(clocked.take({0: 1.0}, at=0)) == []
    assert list(clocked.take({1: 5.0}, at=0.5)) == [None]
    assert list(clocked.due(at=2.5)) == [(1.0, 5.0), (1.0, 5.0)]
    assert list(clocked.take({0: 2.0}, at=2.9)) == []
    # channel 1 is of 0.5: good at 3, not from 4 on
    assert list(clocked.due(at=60.2)) == [(2.0, 5.0), None]
    assert list(clocked.take({0: 3.0, 1: 3.0}, at=60.3)) == []
    assert list(clocked.due(at=62.5)) == [(3.0, 3.0), (3.0, 3.0)]


def test_a_value_that_is_said_to_be_missing_is_a_gap_at_once() -> None:
    clocked = Clocked(channels=1, period_s=1.0, max_age_s=100.0)
    list(clocked.take({0: 1.0}, at=0))
    assert list(clocked.take({0: None}, at=1.5)) == [(1.0,), (1.0,)]
    assert list(clocked.take({0: 2.0}, at=3.5)) == [None, None]
    assert list(clocked.due(at=4.5)) == [(2.0,)]


def test_a_clock_that_runs_backwards_begins_anew() -> None:
    clocked = Clocked(channels=1, period_s=1.0, max_age_s=100.0)
    list(clocked.take({0: 1.0}, at=50))
    assert list(clocked.due(at=10)) == []
    assert list(clocked.take({0: 2.0}, at=11)) == []
    assert list(clocked.due(at=12.5)) == [(2.0,), (2.0,)]


EVENTS = st.lists(
    st.tuples(
        st.floats(0, 5),
        st.dictionaries(st.integers(0, 1), st.none() | st.floats(-9, 9), max_size=2),
    ),
    max_size=30,
)


@given(events=EVENTS, period_s=st.sampled_from([0.25, 1.0, 3.0]))
def test_no_row_holds_a_value_that_was_never_sent_or_is_too_old(
    events: list[tuple[float, dict[int, float | None]]], period_s: float
) -> None:
    clocked = Clocked(channels=2, period_s=period_s, max_age_s=4.0)
    at, count, gaps = 0.0, 0, 0
    sent: list[dict[float, float | None]] = [{}, {}]
    for wait, values in events:
        at += wait
        rows: list[Row] = list(clocked.take(values, at=at))
        recent = [
            {x for when, x in one.items() if when >= at - 4.0 - 5 - period_s}
            for one in sent
        ]
        for row in rows:
            if row is None:
                gaps += 1
            else:
                count += 1
                assert all(x in known for x, known in zip(row, recent, strict=True))
        for channel, value in values.items():
            sent[channel][at] = value
    assert count + gaps <= at / period_s + len(events) + 1


@pytest.mark.parametrize("silence", [1e3, 1e8])
def test_a_long_silence_costs_no_work(silence: float) -> None:
    clocked = Clocked(channels=1, period_s=0.001, max_age_s=1.0)
    list(clocked.take({0: 1.0}, at=0))
    rows = list(clocked.due(at=silence))
    assert rows[-1] is None
    assert 990 <= len(rows) <= 1003
    assert math.isfinite(clocked._next or math.inf)
