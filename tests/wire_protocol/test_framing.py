"""Frames: what goes in comes out; anything else is a typed error."""

import json
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire_protocol.examples import BLOB, EXAMPLES, UPDATE
from wire_protocol.blobs import Need
from wire_protocol.errors import DecodeError, EncodeError
from wire_protocol.framing import MAX_HEADER_BYTES, expect, frame, parse_frame
from wire_protocol.messages import (
    MESSAGES,
    Abandoned,
    CheckIn,
    Message,
    to_header,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "frames.json"
BODY = bytes(range(16))
every_example = pytest.mark.parametrize(
    "message", EXAMPLES.values(), ids=EXAMPLES.keys()
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def _raw(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<4sI", b"EFD1", len(text)) + text + body


def test_the_examples_hold_every_message() -> None:
    assert {message.kind for message in EXAMPLES.values()} == set(MESSAGES)


@every_example
def test_a_frame_comes_back_as_it_was(message: Message) -> None:
    parsed = parse_frame(frame(message, BODY))
    assert parsed.message == message
    assert parsed.body == BODY


@every_example
def test_every_truncation_of_a_header_is_refused(message: Message) -> None:
    raw = frame(message)
    for end in range(len(raw)):
        with pytest.raises(DecodeError):
            parse_frame(raw[:end])


@every_example
def test_unknown_fields_are_ignored(message: Message) -> None:
    raw = _raw({**to_header(message), "from_a_later_version": [1, 2]}, BODY)
    assert parse_frame(raw).message == message


@every_example
def test_a_missing_field_is_refused(message: Message) -> None:
    header = to_header(message)
    for name in header:
        rest = {key: value for key, value in header.items() if key != name}
        with pytest.raises(DecodeError):
            parse_frame(_raw(rest))


@every_example
@given(data=st.data())
def test_a_field_of_any_value_is_read_or_refused(
    message: Message, data: st.DataObject
) -> None:
    header = to_header(message)
    name = data.draw(st.sampled_from(sorted(header)))
    try:
        parsed = parse_frame(_raw({**header, name: data.draw(json_values)}))
    except DecodeError:
        return
    frame(parsed.message)  # what was read can be said again


@given(raw=st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused(raw: bytes) -> None:
    for head in (b"", b"EFD1", b"EFD1" + struct.pack("<I", max(0, len(raw) - 2))):
        try:
            parse_frame(head + raw)
        except DecodeError:
            continue


def test_a_huge_claim_is_refused_before_anything_is_allocated() -> None:
    raw = struct.pack("<4sI", b"EFD1", 2**32 - 1) + b"{}"
    tracemalloc.start()
    with pytest.raises(DecodeError, match="does not fit"):
        parse_frame(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "at least 8 bytes"),
    "another magic": (b"EFD2\0\0\0\0", "begins with"),
    "no JSON": (b"EFD1\x01\0\0\0x", "is JSON"),
    "a JSON list": (_raw([]), "JSON object"),
    "deep nesting": (struct.pack("<4sI", b"EFD1", 60_000) + b"[" * 60_000, "is JSON"),
    "unknown message": (_raw({"t": "reboot"}), "no message"),
    "NaN": (_raw({**to_header(UPDATE), "loss": float("nan")}), "loss is"),
    "a number for a text": (_raw({**to_header(UPDATE), "codec": 3}), "codec is"),
    "true for a number": (_raw({**to_header(UPDATE), "round": True}), "round is"),
    "negative examples": (_raw({**to_header(UPDATE), "num_examples": -1}), "examples"),
    "no examples": (_raw({**to_header(UPDATE), "num_examples": 0}), "examples"),
    "a digest in capitals": (_raw({**to_header(UPDATE), "base": "AB" * 8}), "base is"),
    "a need for more than a window": (
        _raw(to_header(Need(BLOB, "1" + "f" * 16))),
        "more than 64 blocks",
    ),
    "a block beyond the last": (
        _raw(
            {
                "t": "block",
                "blob": {"sha256": "ab" * 32, "size": 9},
                "index": 3,
                "count": 3,
            }
        ),
        "is none",
    ),
}


@pytest.mark.parametrize(("raw", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_wrong_is_said(raw: bytes, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        parse_frame(raw)


def test_a_body_over_the_limit_is_refused() -> None:
    with pytest.raises(DecodeError, match="over 15"):
        parse_frame(frame(UPDATE, BODY), max_body_bytes=15)


def test_what_cannot_be_written_is_our_own_error() -> None:
    unbounded = CheckIn(
        conn=1, runtime="x" * MAX_HEADER_BYTES, family="onnx", codecs=(), num_examples=1
    )
    with pytest.raises(EncodeError):
        frame(unbounded)
    with pytest.raises(EncodeError):
        frame(replace(UPDATE, loss=float("inf")))


def test_another_message_than_expected_is_refused() -> None:
    with pytest.raises(DecodeError, match="expected abandoned, not client_update"):
        expect(Abandoned, frame(UPDATE))


@pytest.mark.parametrize("name", EXAMPLES)
def test_frames_are_byte_for_byte_those_of_the_golden_vectors(name: str) -> None:
    golden: dict[str, str] = json.loads(VECTORS.read_text())
    assert frame(EXAMPLES[name], BODY).hex() == golden[name]
