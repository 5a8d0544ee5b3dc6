"""Which updates count: a table of bad ones, and arbitrary bytes."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.acceptance import (
    RefusedUpdateError,
    Terms,
    accept,
    head_of,
    late_terms,
)
from broker_server.records import RoundTerms
from tests.broker_server.scripted_device import update_of
from wire_protocol.blobs import BlobRef
from wire_protocol.codecs import codec_named
from wire_protocol.errors import Reason
from wire_protocol.framing import frame
from wire_protocol.messages import RoundOffer, TrainingPlan

SIZE = 50
OFFER = RoundOffer(
    round=4,
    version=3,
    params="ab" * 32,
    layout="cd" * 8,
    manifest=BlobRef("0" * 64, 10),
    keyframe=BlobRef("1" * 64, 200),
    deltas=(),
    plan=TrainingPlan(1, 0.1, 0.9, 0.0, evaluate=True, seed=0),
    codec="f32",
    cohort=("a", "b"),
    budget_s=60.0,
    max_staleness=0,
)
GOOD = update_of(OFFER)
DELTA = np.linspace(-1, 1, SIZE, dtype=np.float32)
BODY = codec_named("f32").encode(DELTA)
NAN = np.full(SIZE, np.nan, "<f4").tobytes()

PAST = Terms(2, 1, OFFER.params, OFFER.layout, OFFER.codec, frozenset({"a", "b"}))


def judge(offer: RoundOffer, *, device: str, blob: bytes) -> float:
    """Judge an update as one of an open round."""
    head, body = head_of(blob)
    return accept(Terms.of(offer), head, body=body, device=device, size=SIZE)


BAD: dict[str, tuple[bytes, str, set[Reason]]] = {
    "no frame": (b"hello", "a", {Reason.MALFORMED}),
    "another message": (frame(OFFER), "a", {Reason.MALFORMED}),
    "another round": (frame(replace(GOOD, round=3), BODY), "a", {Reason.WRONG_ROUND}),
    "a stranger": (frame(GOOD, BODY), "x", {Reason.NOT_IN_COHORT}),
    "another layout": (
        frame(replace(GOOD, layout="0" * 16), BODY),
        "a",
        {Reason.WRONG_SCHEMA},
    ),
    "another base": (
        frame(replace(GOOD, base="0" * 16), BODY),
        "a",
        {Reason.WRONG_BASE},
    ),
    "another codec": (
        frame(replace(GOOD, codec="uq"), BODY),
        "a",
        {Reason.WRONG_CODEC},
    ),
    "an unknown codec": (
        frame(replace(GOOD, codec="f32:zip"), BODY),
        "a",
        {Reason.WRONG_CODEC},
    ),
    "too few values": (
        frame(GOOD, BODY[:-4]),
        "a",
        {Reason.MALFORMED, Reason.WRONG_SCHEMA},
    ),
    "not a number": (frame(GOOD, NAN), "a", {Reason.NOT_FINITE}),
    "no examples": (
        frame(replace(GOOD, num_examples=0), BODY),
        "a",
        {Reason.MALFORMED},
    ),
}


@pytest.mark.parametrize(("blob", "device", "reasons"), BAD.values(), ids=BAD)
def test_a_bad_update_is_refused_with_its_reason(
    blob: bytes, device: str, reasons: set[Reason]
) -> None:
    with pytest.raises(RefusedUpdateError) as refused:
        judge(OFFER, device=device, blob=blob)
    assert refused.value.reason in reasons


def test_the_norm_of_a_good_update_is_the_servers_own() -> None:
    norm = judge(OFFER, device="a", blob=frame(GOOD, BODY))
    assert norm == pytest.approx(float(np.linalg.norm(DELTA.astype(np.float64))))


@pytest.mark.parametrize("value", [3e38, -3e38, 1e-45, 0.0])
def test_every_finite_delta_has_a_finite_norm(value: float) -> None:
    body = codec_named("f32").encode(np.full(SIZE, value, np.float32))
    norm = judge(OFFER, device="a", blob=frame(GOOD, body))
    assert norm == pytest.approx(math.sqrt(SIZE) * abs(float(np.float32(value))))


def test_the_setting_of_a_codec_may_differ_from_the_offers() -> None:
    offer = replace(OFFER, codec="uq:2")
    blob = frame(replace(GOOD, codec="uq:4"), codec_named("uq:4").encode(DELTA))
    assert math.isfinite(judge(offer, device="a", blob=blob))


@given(st.binary(max_size=300), st.sampled_from(["raw", "f32", "uq", "int8", "f16"]))
def test_arbitrary_bytes_are_refused_or_finite(junk: bytes, kind: str) -> None:
    offer = OFFER if kind == "raw" else replace(OFFER, codec=kind)
    blob = junk if kind == "raw" else frame(replace(GOOD, codec=kind), junk)
    try:
        norm = judge(offer, device="a", blob=blob)
    except RefusedUpdateError:
        return
    assert math.isfinite(norm)


@pytest.mark.parametrize(
    ("past", "tip", "most", "reason"),
    [
        (None, 9, 8, Reason.WRONG_ROUND),
        (RoundTerms(4, 3, "ab" * 32, ("a",)), 12, 8, Reason.STALE),
        (RoundTerms(4, 3, "ab" * 32, ("a",)), 3, 0, Reason.STALE),
    ],
    ids=["of no round", "of an old base", "where none may be late"],
)
def test_an_update_can_come_too_late(
    past: RoundTerms | None, tip: int, most: int, reason: Reason
) -> None:
    with pytest.raises(RefusedUpdateError) as refused:
        late_terms(past, tip=tip, max_staleness=most, layout="cd" * 8, codec="f32")
    assert refused.value.reason is reason


def test_a_late_update_is_judged_by_its_rounds_base_and_cohort() -> None:
    terms = late_terms(
        RoundTerms(4, 3, "ab" * 32, ("a",)),
        tip=11,
        max_staleness=8,
        layout="cd" * 8,
        codec="f32:x",
    )
    assert terms.cohort == {"a"}
    head, body = head_of(frame(GOOD, BODY))
    norm = accept(terms, head, body=body, device="a", size=SIZE)
    assert norm == pytest.approx(np.linalg.norm(DELTA))
