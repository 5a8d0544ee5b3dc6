"""``quantized.json`` comes back as it went, and nothing else gets in."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_zoo.metrics import METRICS
from model_zoo.quantize.judging import Judgement
from model_zoo.quantize.record import FORMATS, File, Quantized, file_name
from wire_protocol.errors import DecodeError
from wire_protocol.manifest import TASKS, FileRef

numbers = st.none() | st.floats(-1e6, 1e6)
judgements = st.builds(
    Judgement,
    metric=st.sampled_from([one.name for one in METRICS.values()]),
    value=numbers,
    reference=numbers,
    loss=numbers,
    agreement=numbers,
    max_error=st.floats(0, 1e6),
)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
files = st.lists(st.sampled_from(FORMATS), unique=True).flatmap(
    lambda forms: st.tuples(
        *(
            st.builds(
                File,
                st.just(form),
                st.builds(FileRef, st.integers(1, 1 << 26), digests),
                st.none() | judgements,
            )
            for form in forms
        )
    )
)
records = st.builds(
    Quantized,
    model=st.text(max_size=64),
    task=st.sampled_from(TASKS),
    input_shape=st.lists(st.integers(1, 1 << 20), min_size=1, max_size=3).map(tuple),
    params_sha256=digests,
    calibration=st.integers(1, 10**6),
    judged=st.integers(0, 10**6),
    files=files,
)
GOOD = Quantized(
    "m",
    "classification",
    (4,),
    "0" * 64,
    calibration=1,
    judged=0,
    files=(File("tflite-int8", FileRef(3, "1" * 64)),),
)


@given(records)
@settings(max_examples=25)
def test_a_record_comes_back(record: Quantized) -> None:
    assert Quantized.from_json(record.to_json()) == record


@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_an_error(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        Quantized.from_json(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.sampled_from(sorted(json.loads(GOOD.to_json()))),
    JSON,
    st.sampled_from(["name", "format", "size", "sha256", "judgement", ""]),
)
def test_any_field_is_read_or_an_error(field: str, value: Any, inner: str) -> None:
    plain = json.loads(GOOD.to_json())
    if inner:
        plain["files"][0][inner] = value
    else:
        plain[field] = value
    try:
        record = Quantized.from_json(json.dumps(plain).encode())
    except DecodeError:
        return
    assert all(file.ref.size > 0 for file in record.files)


@pytest.mark.parametrize(
    "name", ["../infer-int8.tflite", "/etc/passwd", "infer-int8.onnx", ""]
)
def test_a_file_lies_in_the_folder_under_its_formats_name(name: str) -> None:
    plain = json.loads(GOOD.to_json())
    plain["files"][0]["name"] = name
    with pytest.raises(DecodeError, match=r"tflite-int8 is infer-int8\.tflite"):
        Quantized.from_json(json.dumps(plain).encode())


def test_a_format_is_named_once() -> None:
    plain = json.loads(GOOD.to_json())
    plain["files"] *= 2
    with pytest.raises(DecodeError, match="once"):
        Quantized.from_json(json.dumps(plain).encode())


def test_every_format_has_a_file_of_its_own() -> None:
    assert len({file_name(form) for form in FORMATS}) == len(FORMATS)
