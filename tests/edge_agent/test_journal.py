"""The journal: what was written is read again; anything else is an error."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.journal import (
    MAX_BYTES,
    KeptModel,
    KeptUpdate,
    Record,
    from_bytes,
    to_bytes,
)
from edge_agent.session import (
    Commit,
    Fetching,
    FoldBack,
    Idle,
    Reporting,
    State,
    Training,
)
from tests.edge_agent.offers import offer_of
from wire_protocol.blobs import BlobRef
from wire_protocol.error_feedback import Fate
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.messages import DeltaRef

DELTA = DeltaRef(3, BlobRef("a" * 64, 77))
OFFER = replace(offer_of(5, deltas=(DELTA,)), cohort=())
NEXT = replace(offer_of(6), cohort=(), max_staleness=4)
TRANSFER = "5" * 16
STATES: dict[str, State] = {
    "fresh": Idle(),
    "idle": Idle(OFFER),
    "declined": Idle(OFFER, Reason.LOW_BATTERY),
    "closed": Idle(OFFER, closed=True),
    "fetching": Fetching(OFFER),
    "training": Training(OFFER),
    "reporting": Reporting(OFFER, TRANSFER),
    "reporting, next": Reporting(OFFER, TRANSFER, NEXT),
}
MODEL = KeptModel(3, "b" * 64, "1" * 16)
UPDATE = KeptUpdate(5, TRANSFER, "1" * 16)
records = st.builds(
    Record,
    state=st.sampled_from(list(STATES.values())),
    model=st.sampled_from([None, MODEL]),
    update=st.sampled_from([None, *(replace(UPDATE, fate=fate) for fate in Fate)]),
    bytes_down=st.integers(0, 2**40),
)


@given(records)
def test_what_was_written_is_read(record: Record) -> None:
    assert from_bytes(to_bytes(record)) == record


@given(record=records, data=st.data())
def test_every_changed_byte_and_every_cut_is_found(
    record: Record, data: st.DataObject
) -> None:
    raw = bytearray(to_bytes(record))
    if data.draw(st.booleans()):
        index = data.draw(st.integers(0, len(raw) - 1))
        raw[index] ^= data.draw(st.integers(1, 255))
    else:
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    with pytest.raises(DecodeError):
        from_bytes(bytes(raw))


@given(st.binary(max_size=400))
def test_bytes_that_are_no_journal_are_an_error(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        from_bytes(raw)


def sealed(text: bytes) -> bytes:
    return f"edgefed-journal 1 {hashlib.sha256(text).hexdigest()}\n".encode() + text


plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["idle", "reporting", "5" * 16, "untold"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["state", "phase", "offers", "model", "update", "transfer", "fate"]
            ),
            inner,
        ),
    ),
    max_leaves=12,
)


@given(
    record=records,
    path=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    value=plain,
)
def test_a_hostile_journal_with_a_right_digest_is_a_record_or_an_error(
    record: Record, path: list[int], value: Any
) -> None:
    text: Any = json.loads(to_bytes(record).partition(b"\n")[2])
    _change(text, path, value)
    try:
        found = from_bytes(sealed(json.dumps(text).encode()))
    except DecodeError:
        return
    assert from_bytes(to_bytes(found)) == found


def _change(node: Any, path: list[int], value: Any) -> None:
    """Replace what ``path`` leads to; the path is bent to what there is."""
    for depth, step in enumerate(path):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = keys[step % len(keys)]
        if depth == len(path) - 1 or not isinstance(node[key], dict | list):
            node[key] = value
            return
        node = node[key]


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b"[" * 100_000, b"\xff", b'{"state":{}}', b"NaN"],
    ids=["nothing", "list", "empty", "deep", "no UTF-8", "no phase", "NaN"],
)
def test_json_that_is_no_record_is_an_error(text: bytes) -> None:
    with pytest.raises(DecodeError):
        from_bytes(sealed(text))


def test_a_journal_that_is_too_large_is_not_parsed() -> None:
    with pytest.raises(DecodeError, match="up to"):
        from_bytes(bytes(MAX_BYTES + 1))


def test_another_version_is_an_error() -> None:
    raw = to_bytes(Record()).replace(b"journal 1 ", b"journal 2 ")
    with pytest.raises(DecodeError, match="version"):
        from_bytes(raw)


def test_a_verdict_is_recorded_with_the_state_that_follows_from_it() -> None:
    before = Record(Reporting(OFFER, TRANSFER), update=UPDATE)
    idle = Idle(OFFER)
    counted = before.after(idle, (Commit(5, TRANSFER),))
    assert counted == Record(idle, update=replace(UPDATE, fate=Fate.COUNTED))
    taken_back = counted.after(idle, (FoldBack(5, TRANSFER),))
    assert taken_back.update == replace(UPDATE, fate=Fate.FOLDED_BACK)
    assert taken_back.after(idle, (Commit(5, TRANSFER),)) == taken_back


def test_a_verdict_on_another_transfer_changes_nothing() -> None:
    record = Record(Idle(OFFER), update=UPDATE)
    for effect in (Commit(5, "6" * 16), FoldBack(5, "6" * 16)):
        assert record.after(record.state, (effect,)) == record
        assert Record().after(Idle(), (effect,)) == Record()
