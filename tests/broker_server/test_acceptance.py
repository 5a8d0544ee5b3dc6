"""Which updates count: a table of bad ones, and arbitrary bytes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.acceptance import RefusedUpdateError, accept
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

BAD: dict[str, tuple[bytes, str, set[Reason], bool]] = {
    "no frame": (b"hello", "a", {Reason.MALFORMED}, True),
    "another message": (frame(OFFER), "a", {Reason.MALFORMED}, True),
    "another round": (
        frame(replace(GOOD, round=3), BODY),
        "a",
        {Reason.WRONG_ROUND},
        False,
    ),
    "a stranger": (frame(GOOD, BODY), "x", {Reason.NOT_IN_COHORT}, True),
    "another layout": (
        frame(replace(GOOD, layout="0" * 16), BODY),
        "a",
        {Reason.WRONG_SCHEMA},
        True,
    ),
    "another base": (
        frame(replace(GOOD, base="0" * 16), BODY),
        "a",
        {Reason.WRONG_BASE},
        True,
    ),
    "another codec": (
        frame(replace(GOOD, codec="uq"), BODY),
        "a",
        {Reason.WRONG_CODEC},
        True,
    ),
    "an unknown codec": (
        frame(replace(GOOD, codec="f32:zip"), BODY),
        "a",
        {Reason.WRONG_CODEC},
        True,
    ),
    "too few values": (
        frame(GOOD, BODY[:-4]),
        "a",
        {Reason.MALFORMED, Reason.WRONG_SCHEMA},
        True,
    ),
    "not a number": (frame(GOOD, NAN), "a", {Reason.NOT_FINITE}, True),
    "no examples": (
        frame(replace(GOOD, num_examples=0), BODY),
        "a",
        {Reason.MALFORMED},
        True,
    ),
}


@pytest.mark.parametrize(("blob", "device", "reasons", "ours"), BAD.values(), ids=BAD)
def test_a_bad_update_is_refused_with_its_reason(
    blob: bytes, device: str, reasons: set[Reason], ours: bool
) -> None:
    with pytest.raises(RefusedUpdateError) as refused:
        accept(OFFER, device=device, blob=blob, size=SIZE)
    assert refused.value.reason in reasons
    assert refused.value.ours is ours


def test_a_good_update_is_decoded() -> None:
    accepted = accept(OFFER, device="a", blob=frame(GOOD, BODY), size=SIZE)
    assert accepted.message == GOOD
    assert np.array_equal(accepted.delta, DELTA)


def test_the_setting_of_a_codec_may_differ_from_the_offers() -> None:
    offer = replace(OFFER, codec="uq:2")
    blob = frame(replace(GOOD, codec="uq:4"), codec_named("uq:4").encode(DELTA))
    assert np.isfinite(accept(offer, device="a", blob=blob, size=SIZE).delta).all()


@given(st.binary(max_size=300), st.sampled_from(["raw", "f32", "uq", "int8", "f16"]))
def test_arbitrary_bytes_are_refused_or_finite(junk: bytes, kind: str) -> None:
    offer = OFFER if kind == "raw" else replace(OFFER, codec=kind)
    blob = junk if kind == "raw" else frame(replace(GOOD, codec=kind), junk)
    try:
        accepted = accept(offer, device="a", blob=blob, size=SIZE)
    except RefusedUpdateError:
        return
    assert accepted.delta.shape == (SIZE,)
    assert np.isfinite(accepted.delta).all()
