"""Payloads as numbers: gaps are gaps, and bytes of any kind are survived."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources.json_path import parse_path
from edge_agent.sources.readings import (
    MAX_PAYLOAD_BYTES,
    json_of,
    number_of,
    rows_of,
    text_of,
)
from wire_protocol.errors import DecodeError, Reason

NUMBERS: list[tuple[object, float | None]] = [
    (21, 21.0), (-0.5, -0.5), ("21.5", 21.5), (" 7 ", 7.0), ("ON", 1.0), ("off", 0.0),
    (True, 1.0), (False, 0.0), ("open", 1.0), ("not_home", 0.0), ("1e3", 1000.0),
    ("unavailable", None), ("unknown", None), ("", None), (None, None), ([1], None),
    ({}, None), ("1_000", None), ("nan", None), ("inf", None), (math.nan, None),
    (10**400, None), (1e39, None), ("9" * 65, None), ("12 °C", None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "number"), NUMBERS)
def test_a_value_is_a_number_or_a_gap(value: object, number: float | None) -> None:
    assert number_of(value) == number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("walking", "walking"), (" a ", "a"), (3, "3"), (True, "on"), ("unknown", None),
        ("", None), (None, None), (3.5, None), ([], None), ("x" * 65, None),
    ],
)  # fmt: skip
def test_a_value_is_a_label_or_none(value: object, text: str | None) -> None:
    assert text_of(value) == text


def test_plain_text_is_a_payload() -> None:
    assert json_of(b"on") == "on"
    assert json_of(b" 21.5\n") == 21.5
    assert json_of(b'{"a": 1}') == {"a": 1}


WRONG = {
    "huge": (b" " * (MAX_PAYLOAD_BYTES + 1), Reason.TOO_LARGE),
    "no text": (b"\xff\xfe", Reason.MALFORMED),
    "long and no JSON": (b"x" * 100, Reason.MALFORMED),
    "deep": (b"[" * 60_000, Reason.MALFORMED),
    "a number without end": (b"9" * 60_000, Reason.MALFORMED),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_payload_of_another_kind_is_a_typed_error(name: str) -> None:
    payload, reason = WRONG[name]
    with pytest.raises(DecodeError) as caught:
        json_of(payload)
    assert caught.value.reason is reason


PATHS = tuple(parse_path(text) for text in ("$.a", "$.s[*].x", "$.s[*].y"))


@given(
    payload=st.binary(max_size=60)
    | st.text('{}[]":,01asxy ', max_size=40).map(str.encode)
    | st.sampled_from([b'{"a":1,"s":[{"x":1,"y":2},{"x":3,"y":4}]}', b'{"a":1,"s":[]}'])
)
def test_whatever_comes_rows_are_of_the_right_width(payload: bytes) -> None:
    with contextlib.suppress(DecodeError):
        for row in rows_of(json_of(payload), PATHS):
            assert len(row) == 3
            assert all(x is None or math.isfinite(x) for x in row)


def test_a_message_may_hold_many_rows() -> None:
    value = {"a": 7, "s": [{"x": 1, "y": 2}, {"x": 3, "y": None}]}
    assert rows_of(value, PATHS) == [(7.0, 1.0, 2.0), (7.0, 3.0, None)]
    assert rows_of({"s": [{"x": 1, "y": 2}, {"x": 3}]}, PATHS) == []
    assert rows_of({"a": 1}, (parse_path("$.a"), parse_path("$.b"))) == [(1.0, None)]
