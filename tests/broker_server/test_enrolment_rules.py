"""Who gets a certificate: a table of cases, and what holds of all of them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.enrolment_rules import (
    DAY_S,
    EARLIEST_S,
    Applicant,
    check_clock,
    end_of,
    is_claim,
    is_due,
    judge,
    printable,
)
from broker_server.members import Claim, Member
from wire_protocol.errors import DecodeError, RefusedError

KEY, OTHER = "a" * 64, "b" * 64
NOW, END = 1000.0, 2000.0
OPEN = Claim("claim.0123456789", "c" * 64, "1", END)
USED = replace(OPEN, taken_by=KEY)
KITCHEN = Member("kitchen", "", KEY, "2", 9e9, NOW, OPEN.claim, "")
ASKING = Applicant(OPEN.claim, KEY, "kitchen")

ANSWERS: dict[str, tuple[Claim | None, list[Member], Applicant, float, str]] = {
    "an open claim": (OPEN, [], ASKING, NOW, "issue"),
    "just before its end": (OPEN, [], ASKING, END - 1, "issue"),
    "for this id": (replace(OPEN, device="kitchen"), [], ASKING, NOW, "issue"),
    "cut short before the member was written": (USED, [], ASKING, NOW, "issue"),
    "the same, after the end": (USED, [], ASKING, END + 99, "issue"),
    "the same request again": (USED, [KITCHEN], ASKING, NOW, "repeat"),
    "the same, after the end of the claim": (USED, [KITCHEN], ASKING, 9e6, "repeat"),
    "the claim is spent, its answer was lost": (
        replace(USED, spent=True),
        [KITCHEN],
        ASKING,
        NOW,
        "repeat",
    ),
    "no claim": (None, [], ASKING, NOW, "claim_over"),
    "at its end": (OPEN, [], ASKING, END, "claim_over"),
    "used by another key": (
        replace(OPEN, taken_by=OTHER),
        [],
        ASKING,
        NOW,
        "claim_over",
    ),
    "used, and another id is wanted": (
        USED,
        [KITCHEN],
        replace(ASKING, device="hall"),
        NOW,
        "claim_over",
    ),
    "open by its file, used by a member": (
        OPEN,
        [replace(KITCHEN, device="hall")],
        ASKING,
        NOW,
        "claim_over",
    ),
    "the id of another": (
        OPEN,
        [replace(KITCHEN, claim="claim.9999999999", public=OTHER)],
        ASKING,
        NOW,
        "name_taken",
    ),
    "its own id, by another claim": (
        OPEN,
        [replace(KITCHEN, claim="claim.9999999999")],
        ASKING,
        NOW,
        "name_taken",
    ),
    "revoked": (USED, [replace(KITCHEN, revoked=5.0)], ASKING, NOW, "revoked"),
    "a claim for another id": (
        replace(OPEN, device="hall"),
        [],
        ASKING,
        NOW,
        "untrusted",
    ),
    "no id at all": (OPEN, [], replace(ASKING, device=""), NOW, "malformed"),
    "the server's name": (
        OPEN,
        [],
        replace(ASKING, device="server.edgefed"),
        NOW,
        "malformed",
    ),
    "a wild card": (OPEN, [], replace(ASKING, device="+"), NOW, "malformed"),
    "a folder": (OPEN, [], replace(ASKING, device="../x"), NOW, "malformed"),
}


@pytest.mark.parametrize(
    ("claim", "members", "asking", "now", "expected"), ANSWERS.values(), ids=ANSWERS
)
def test_the_table_of_answers(
    claim: Claim | None,
    members: list[Member],
    asking: Applicant,
    now: float,
    expected: str,
) -> None:
    known = {one.device: one for one in members}
    try:
        answer: str = judge(asking, claim=claim, members=known, now=now)
    except DecodeError as error:
        answer = error.reason
    assert answer == expected


ids = st.sampled_from(["kitchen", "hall", "", "a.b"])
keys = st.sampled_from([KEY, OTHER])


@given(
    device=ids,
    key=keys,
    taken=st.sampled_from(["", KEY, OTHER]),
    only=st.sampled_from(["", "kitchen"]),
    members=st.dictionaries(
        st.sampled_from(["kitchen", "hall"]),
        st.tuples(keys, st.sampled_from([OPEN.claim, "claim.9999999999"])),
    ),
    now=st.floats(0, 2 * END),
)
def test_nobody_gets_a_second_id_and_nobody_anothers(
    device: str,
    key: str,
    taken: str,
    only: str,
    members: dict[str, tuple[str, str]],
    now: float,
) -> None:
    known = {
        name: replace(KITCHEN, device=name, public=public, claim=claim)
        for name, (public, claim) in members.items()
    }
    claim = replace(OPEN, taken_by=taken, device=only)
    try:
        verdict = judge(
            Applicant(claim.claim, key, device), claim=claim, members=known, now=now
        )
    except DecodeError:
        return
    if verdict == "issue":
        assert device not in known
        assert claim.claim not in {one.claim for one in known.values()}
        assert taken == key or (taken == "" and now < END)
        assert only in ("", device)
    else:
        assert (known[device].public, known[device].claim) == (key, claim.claim)


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("claim.0123456789", True),
        ("claim.0123456789abcdef", True),
        ("claim.012345678", False),
        ("claim.0123456789/..", False),
        ("claim.0123456789\n", False),
        ("../claims/claim.0123456789", False),
        ("kitchen", False),
        ("", False),
    ],
)
def test_what_a_claim_can_be_called(name: str, fits: bool) -> None:
    assert is_claim(name) is fits


def test_renewal_is_due_in_the_last_third() -> None:
    end = end_of(days=90, now=EARLIEST_S)
    assert not is_due(end, days=90, now=end - 31 * DAY_S)
    assert is_due(end, days=90, now=end - 29 * DAY_S)
    assert is_due(end, days=90, now=end + 1)
    # a server without a clock calls on nobody, and what it issues does not end in 1971
    assert not is_due(end, days=90, now=0.0)
    assert end_of(days=90, now=0.0) == end


def test_a_clock_that_was_never_set_is_refused() -> None:
    check_clock(EARLIEST_S)
    with pytest.raises(RefusedError, match="clock"):
        check_clock(0.0)


@given(st.text())
def test_what_is_shown_moves_no_cursor(text: str) -> None:
    assert printable(text).isprintable()
