"""Nothing learned is lost, and nothing is sent twice, whatever the verdicts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_protocol.codecs import codec_named
from wire_protocol.error_feedback import Fate, Sent, encode
from wire_protocol.errors import DecodeError, EncodeError
from wire_protocol.params import Vector

SIZE = 48
UQ = codec_named("uq")
FATES = {
    "commit": (Fate.counted,),
    "fold back": (Fate.folded_back,),
    "silence": (),
    "commit, then fold back": (Fate.counted, Fate.folded_back),
    "fold back, then an echo": (Fate.folded_back, Fate.counted),
    "commit twice": (Fate.counted, Fate.counted),
}
COUNTED = {"commit", "commit twice"}
fates = st.lists(st.sampled_from(sorted(FATES)), min_size=1, max_size=12)
codecs = st.sampled_from(["uq", "uq:4", "int8", "f32"])


def delta(seed: int) -> Vector:
    return np.random.default_rng(seed).normal(size=SIZE).astype(np.float32)


def told(sent: Sent, fate: str) -> Sent:
    for verdict in FATES[fate]:
        sent = replace(sent, fate=verdict(sent.fate))
    return sent


@given(fates=fates, name=codecs, seed=st.integers(0, 10_000))
def test_accepted_plus_residual_is_all_that_was_learned(
    fates: list[str], name: str, seed: int
) -> None:
    codec = codec_named(name)
    learned, accepted = np.zeros(SIZE), np.zeros(SIZE)
    residual: Vector | None = None
    for number, fate in enumerate(fates):
        learned += delta(seed + number)
        sent = encode(delta(seed + number), residual=residual, codec=codec)
        if fate in COUNTED:
            accepted += codec.decode(sent.payload, SIZE)
        residual = told(sent, fate).residual()
    assert residual is not None
    np.testing.assert_allclose(accepted + residual, learned, atol=1e-4)


@given(name=codecs, seed=st.integers(0, 10_000), fate=st.sampled_from(sorted(FATES)))
def test_what_is_kept_of_it_gives_the_same_residual_to_the_bit(
    name: str, seed: int, fate: str
) -> None:
    first = encode(delta(seed), residual=None, codec=codec_named(name))
    sent = told(encode(delta(seed + 1), residual=first.meant, codec=UQ), fate)
    kept = sent.meant.astype("<f4").tobytes()
    again = Sent(np.frombuffer(kept, "<f4"), sent.payload, sent.codec, sent.fate)
    assert again.residual().tobytes() == sent.residual().tobytes()


def test_the_residual_waits_for_the_verdict() -> None:
    sent = encode(delta(0), residual=delta(1), codec=UQ)
    assert sent.fate is Fate.UNTOLD
    np.testing.assert_array_equal(sent.residual(), delta(0) + delta(1))


def test_a_receipt_leaves_what_was_left_out() -> None:
    sent = told(encode(delta(0), residual=None, codec=UQ), "commit")
    np.testing.assert_array_equal(
        sent.residual(), delta(0) - UQ.decode(sent.payload, SIZE)
    )


@pytest.mark.parametrize(
    ("bad", "residual"),
    [
        (np.full(SIZE, np.nan, np.float32), None),
        (np.zeros(3, np.float32), delta(0)),
        (np.full(SIZE, 3e38, np.float32), np.full(SIZE, 3e38, np.float32)),
    ],
    ids=["NaN", "size", "overflow"],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_delta_that_cannot_be_sent_is_an_error(
    bad: Vector, residual: Vector | None
) -> None:
    with pytest.raises(EncodeError):
        encode(bad, residual=residual, codec=UQ)


def test_a_payload_that_is_not_the_codecs_is_an_error() -> None:
    sent = told(encode(delta(0), residual=None, codec=UQ), "commit")
    with pytest.raises(DecodeError):
        replace(sent, payload=b"\xff" * 9).residual()
    with pytest.raises(DecodeError):
        replace(sent, codec="mp3").residual()
