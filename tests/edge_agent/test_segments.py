"""Segment files: what is written is read, and what is damaged ends them, no more."""

import contextlib
import json
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.examples import Examples
from edge_agent.segments import (
    Form,
    TargetKind,
    encode_header,
    encode_records,
    open_segment,
    read_records,
)
from wire_protocol.errors import DecodeError

FORMS = st.builds(
    lambda shape, kind, outputs: Form(
        tuple(shape),
        kind,
        outputs if kind == "numbers" else int(kind == "classes"),
        "recipe",
    ),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.sampled_from(["classes", "numbers", "none"]),
    st.integers(1, 4),
)

FEW = settings(max_examples=40)
"""Each case writes files."""


def examples_of(form: Form, count: int, *, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, *form.shape)).astype(np.float32)
    if form.targets == "classes":
        return Examples(x, rng.integers(0, 9, count).astype(np.int32))
    return Examples(x, rng.normal(size=(count, form.outputs)).astype(np.float32))


@FEW
@given(form=FORMS, count=st.integers(1, 20), first=st.integers(0, 1 << 40))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, form: Form, count: int, first: int
) -> None:
    path = tmp_path_factory.mktemp("segments") / "a.examples"
    given_examples = examples_of(form, count)
    records = encode_records(form, given_examples, first=first)
    path.write_bytes(encode_header(form, first=first) + records)
    segment = open_segment(path)
    assert (segment.form, segment.first, segment.count) == (form, first, count)
    assert segment.end == path.stat().st_size
    found = form.examples(read_records(segment, 0, count))
    assert found.x.tobytes() == given_examples.x.tobytes()
    assert found.y.tobytes() == given_examples.y.tobytes()
    assert found.y.dtype == given_examples.y.dtype
    assert found.kind == given_examples.kind


FORM = Form((3, 2), "classes", 1, "r")
HEADER = encode_header(FORM, first=7)
WHOLE = HEADER + encode_records(FORM, examples_of(FORM, 5), first=7)


@FEW
@given(cut=st.integers(0, len(WHOLE)), rest=st.binary(max_size=40))
def test_a_torn_tail_costs_what_was_torn(
    tmp_path_factory: pytest.TempPathFactory, cut: int, rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("segments") / "a.examples"
    path.write_bytes(WHOLE[:cut] + rest)
    whole = WHOLE[:cut] + rest
    same = next(
        (
            n
            for n, pair in enumerate(zip(whole, WHOLE, strict=False))
            if len(set(pair)) > 1
        ),
        min(len(whole), len(WHOLE)),
    )
    if same < len(HEADER):
        with pytest.raises(DecodeError):
            open_segment(path)
    else:
        kept = (same - len(HEADER)) // FORM.record_bytes
        assert open_segment(path).count == kept


@FEW
@given(at=st.integers(len(HEADER), len(WHOLE) - 1), bit=st.integers(0, 7))
def test_a_bit_that_fell_over_ends_the_segment_before_its_example(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("segments") / "a.examples"
    damaged = bytearray(WHOLE)
    damaged[at] ^= 1 << bit
    path.write_bytes(damaged)
    assert open_segment(path).count == (at - len(HEADER)) // FORM.record_bytes


@FEW
@given(
    raw=st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(b"EFX1".__add__))
)
def test_foreign_bytes_are_no_segment(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.mktemp("segments") / "a.examples"
    path.write_bytes(raw)
    with pytest.raises(DecodeError):
        open_segment(path)


@FEW
@given(
    fields=st.dictionaries(
        st.sampled_from(["first", "outputs", "recipe", "shape", "targets"]),
        st.one_of(
            st.integers(-3, 1 << 60),
            st.sampled_from(
                ["", "3", "3x2", "99999999x9999999", "x", "classes", "none"]
            ),
            st.none(),
            st.text(max_size=5),
        ),
    )
)
def test_a_foreign_header_is_refused_or_meant(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("segments") / "a.examples"
    text = json.dumps(fields).encode()
    numbers = np.array([len(text), zlib.crc32(text)], "<u4").tobytes()
    path.write_bytes(b"EFX1" + numbers + text)
    with contextlib.suppress(DecodeError):
        assert open_segment(path).count == 0


WRONG: list[tuple[tuple[int, ...], TargetKind, int]] = [
    ((), "none", 0),
    ((0,), "none", 0),
    ((1 << 20, 1 << 20), "none", 0),
    ((3,), "classes", 2),
    ((3,), "none", 1),
    ((3,), "numbers", 0),
]


@pytest.mark.parametrize(("shape", "kind", "outputs"), WRONG)
def test_a_form_that_no_example_has_is_refused(
    shape: tuple[int, ...], kind: TargetKind, outputs: int
) -> None:
    with pytest.raises(DecodeError):
        Form(shape, kind, outputs)
