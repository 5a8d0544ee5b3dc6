"""The ledger: what balances, and every way in which it may not."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.chaos.ledger import Entry, balance
from tools.chaos.witness import Sightings
from wire_protocol.errors import Reason
from wire_protocol.framing import frame
from wire_protocol.messages import UpdateReceipt

BOOKS = [
    Entry(1, "a", "a1", 1),
    Entry(1, "b", "b1", 1),
    Entry(2, "a", "a2", 2),
    Entry(2, "b", "b2", 3),  # late: in the next merge
    Entry(3, "a", "a3", 3),
    Entry(4, "a", "a4", None),
]
SEEN = {entry.acceptance for entry in BOOKS}


def test_books_in_which_every_update_is_merged_once_or_waits_balance() -> None:
    found = balance(BOOKS, SEEN, versions=[1, 2, 3])
    assert found.problems() == []
    assert (found.accepted, found.merged, found.pending) == (6, 5, 1)
    assert found.witnessed == 6


@pytest.mark.parametrize("place", range(len(BOOKS)))
def test_an_accepted_update_that_is_not_in_the_books_is_lost(place: int) -> None:
    entries = [*BOOKS[:place], *BOOKS[place + 1 :]]
    found = balance(entries, SEEN, versions=[])
    assert len(found.lost) == 1
    assert BOOKS[place].transfer in found.lost[0]
    assert "1 accepted, but lost" in found.problems()[0]


def test_an_accepted_update_that_was_given_up_is_lost_though_nobody_saw_it() -> None:
    given_up = replace(BOOKS[-1], given_up=True)
    found = balance([*BOOKS[:-1], given_up], SEEN - {given_up.acceptance}, versions=[])
    assert (len(found.lost), found.pending) == (1, 0)


@pytest.mark.parametrize(
    "second",
    [
        Entry(2, "a", "other", 3),  # another update of the same round
        Entry(3, "b", "b1", 3),  # the same content in another round
        Entry(1, "b", "b1", 2),  # the very same, in two versions
    ],
    ids=["a round twice", "a content twice", "a row twice"],
)
def test_an_update_that_counts_twice_is_found(second: Entry) -> None:
    found = balance([*BOOKS, second], SEEN, versions=[])
    assert len(found.twice) >= 1
    assert "counted more than once" in "".join(found.problems())


def test_two_promises_for_one_place_are_found_though_the_books_have_one() -> None:
    found = balance(BOOKS, {*SEEN, (1, "a", "another")}, versions=[])
    assert found.twice == ("a in round 1",)


def test_a_version_that_no_update_made_is_found() -> None:
    found = balance(BOOKS, SEEN, versions=[1, 2, 3, 4])
    assert found.empty == (4,)
    assert "versions without an update: 4" in found.problems()


@given(
    st.sets(
        st.tuples(st.integers(1, 9), st.sampled_from("abc"), st.sampled_from("xyz"))
    ),
    st.lists(st.integers(1, 5) | st.none(), min_size=1),
)
def test_every_promise_is_merged_pending_or_lost(
    promised: set[tuple[int, str, str]], versions: list[int | None]
) -> None:
    kept = sorted(promised)[::2]
    entries = [
        Entry(*one, merged_version=versions[place % len(versions)])
        for place, one in enumerate(kept)
    ]
    found = balance(entries, promised, versions=[])
    assert found.merged + found.pending + len(found.lost) == len(promised)


def test_a_witness_notes_acceptances_once_and_counts_the_rest() -> None:
    sightings = Sightings()
    levels = ("d", "pi", "cmd", "receipt")
    accepted = frame(UpdateReceipt(3, "0" * 16, Reason.ACCEPTED))
    for payload in (
        accepted,
        accepted,
        frame(UpdateReceipt(4, "1" * 16, Reason.STALE)),
        b"no frame",
        json.dumps({"a": 1}).encode(),
    ):
        sightings.take(levels, payload)
    sightings.take(("server", "state"), accepted)
    assert sightings.accepted == {(3, "pi", "0" * 16)}
    assert sightings.others == {Reason.STALE: 1}
