"""Tokens come back as they were; a damaged one is a typed error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire_protocol.examples import EXAMPLES
from wire_protocol.enrolment import JoinToken, TokenParts, token_frame, token_text
from wire_protocol.errors import DecodeError
from wire_protocol.framing import expect, frame

HEAD = EXAMPLES["join token"]
parts = st.builds(
    TokenParts,
    seed=st.binary(min_size=32, max_size=32),
    fleet_key=st.binary(min_size=32, max_size=32),
    authority=st.binary(min_size=1, max_size=600),
    certificate=st.binary(min_size=1, max_size=600),
)


@given(body=parts)
def test_a_token_comes_back_as_it_was(body: TokenParts) -> None:
    text = token_text(frame(HEAD, body.to_bytes()))
    wrapped = "\n".join(text[i : i + 60] for i in range(0, len(text), 60)) + "\r\n"
    for copied in (text, f"  {text}\n", wrapped):
        head, raw = expect(JoinToken, token_frame(copied))
        assert (head, TokenParts.from_bytes(raw)) == (HEAD, body)


def test_a_token_does_not_show_its_secret_by_accident() -> None:
    body = TokenParts(b"the secret of this very claim...", bytes(32), b"a", b"c")
    assert "secret" not in repr(body)


@given(text=st.text(max_size=200), cut=st.integers(0, 400))
def test_a_damaged_token_is_a_typed_error(text: str, cut: int) -> None:
    whole = token_text(frame(HEAD, bytes(200)))
    for attempt in (text, "efd1:" + text, whole[:cut] + text, whole[: cut % 90]):
        try:
            _, raw = expect(JoinToken, token_frame(attempt))
            TokenParts.from_bytes(raw)
        except DecodeError:
            continue


@pytest.mark.parametrize("length", range(0, 68, 3))
def test_a_body_that_is_cut_off_is_refused(length: int) -> None:
    whole = TokenParts(bytes(32), bytes(32), b"a", b"c").to_bytes()
    with pytest.raises(DecodeError, match="cut off"):
        TokenParts.from_bytes(whole[: min(length, len(whole) - 1)])
