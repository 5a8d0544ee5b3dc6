"""Signatures hold for what was signed, by whom, and where it was meant; for no more."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_protocol.envelope import ENVELOPE_BYTES, MAGIC, split
from wire_protocol.errors import ConfigError, Reason, RefusedError, TrustError
from wire_protocol.signing import (
    Signer,
    Verifier,
    key_from_pem,
    key_to_pem,
    load_key,
)

PI = Signer(bytes(range(32)))
OTHER = Signer(bytes(32))
TOPIC = "edgefed/1/home/round/7"
contexts = st.text(max_size=40)


@given(context=contexts, body=st.binary(max_size=200))
def test_what_was_sealed_opens_for_its_context(context: str, body: bytes) -> None:
    raw = PI.seal(context, body)
    assert Verifier(PI.public).unseal(context, raw) == body
    assert split(raw)[1] == body
    assert len(raw) == len(body) + ENVELOPE_BYTES


@given(
    body=st.binary(max_size=100),
    at=st.integers(0, 10_000),
    bit=st.integers(0, 7),
)
def test_no_bit_can_be_changed(body: bytes, at: int, bit: int) -> None:
    raw = bytearray(PI.seal(TOPIC, body))
    raw[at % len(raw)] ^= 1 << bit
    with pytest.raises(TrustError) as caught:
        Verifier(PI.public).unseal(TOPIC, bytes(raw))
    assert caught.value.reason is Reason.UNTRUSTED


@given(
    one=contexts, other=contexts, body=st.binary(max_size=50), cut=st.integers(0, 50)
)
def test_a_context_cannot_be_moved_into_the_body(
    one: str, other: str, body: bytes, cut: int
) -> None:
    raw = PI.seal(one + other, body)
    shifted = raw[:ENVELOPE_BYTES] + other.encode() + body
    attempts = [(one, shifted), (one + other, raw[: len(raw) - 1 - cut])]
    for context, attempt in attempts:
        if (context, attempt) != (one + other, raw):
            with pytest.raises(TrustError):
                Verifier(PI.public).unseal(context, attempt)


@given(raw=st.binary(max_size=200))
def test_arbitrary_bytes_are_never_trusted(raw: bytes) -> None:
    for head in (b"", MAGIC):
        with pytest.raises(TrustError):
            Verifier(PI.public).unseal(TOPIC, head + raw)


def test_the_same_words_get_the_same_signature() -> None:
    assert PI.seal(TOPIC, b"frame") == PI.seal(TOPIC, b"frame")


@pytest.mark.parametrize(
    ("signer", "context"),
    [(OTHER, TOPIC), (PI, TOPIC + "1"), (PI, "edgefed/1/attic/round/7")],
    ids=["another key", "another round", "another fleet"],
)
def test_elsewhere_it_proves_nothing(signer: Signer, context: str) -> None:
    raw = signer.seal(context, b"frame")
    with pytest.raises(TrustError):
        Verifier(PI.public).unseal(TOPIC, raw)


def test_a_key_is_nowhere_in_its_text() -> None:
    assert PI.seed.hex() not in repr(PI)
    assert repr(PI.seed) not in repr(PI)


def test_a_key_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    path.write_bytes(key_to_pem(PI))
    path.chmod(0o600)
    assert load_key(path) == PI


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "device.key"
    path.write_bytes(key_to_pem(PI))
    path.chmod(mode)
    with pytest.raises(RefusedError, match="can be read by others"):
        load_key(path)


def test_a_missing_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="enrol anew"):
        load_key(tmp_path / "none.key")


@given(raw=st.binary(max_size=300))
def test_a_damaged_key_is_a_typed_error(raw: bytes) -> None:
    whole = key_to_pem(PI)
    for attempt in (raw, whole[: len(raw)], whole + raw):
        try:
            key_from_pem(attempt)
        except TrustError:
            continue
