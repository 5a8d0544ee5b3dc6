"""Codecs keep their error bound and survive anything a peer may send."""

import json
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wire_protocol.codecs import (
    ALLOWANCE_BYTES,
    BLOCK,
    CODECS,
    MOST_BITS,
    Codec,
    codec_named,
    uniform_quantizer,
)
from wire_protocol.errors import ConfigError, DecodeError, EncodeError, Reason
from wire_protocol.params import Vector

VECTORS = Path(__file__).parents[1] / "vectors"
NAMES = [*CODECS, "uq:0.25", "uq:1", "uq:4"]
every_codec = pytest.mark.parametrize("name", NAMES)
sizes = st.integers(0, 700)
tame = arrays(np.float32, sizes, elements=st.floats(-1e4, 1e4, width=32))
wild = arrays(
    np.float32, sizes, elements=st.floats(width=32, allow_nan=True, allow_infinity=True)
)


@st.composite
def deltas(draw: st.DrawFn) -> Vector:
    """Draw what training makes: heavy tails, at any scale, some of it exactly zero."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    vector = rng.standard_t(draw(st.integers(2, 30)), draw(st.integers(1, 3000)))
    vector[rng.random(vector.size) < draw(st.floats(0.0, 1.0))] = 0.0
    return (vector * 10.0 ** draw(st.integers(-8, 1))).astype(np.float32)


def bound(codec: Codec, vector: Vector) -> Vector:
    """Return the largest error that ``codec`` may make, one for each value."""
    size = vector.size
    match codec.name.partition(":"):
        case ("f32", _, _):
            return np.zeros(size, np.float32)
        case ("f16", _, _):
            half_an_ulp: Vector = np.abs(vector) * np.float32(2**-11)
            return half_an_ulp + np.float32(2**-25)
        case ("int8", _, _):
            peaks = [
                np.abs(vector[at : at + BLOCK]).max() for at in range(0, size, 256)
            ]
            half_a_step = np.repeat(np.array(peaks) / 253, BLOCK)[:size] + 1e-44
            return half_a_step.astype(np.float32)
        case ("uq", _, ""):  # a coarser step than of 2, where that takes too much
            (step,) = struct.unpack("<f", codec.encode(vector)[:4])
            return np.full(size, 0.5001 * step + 4e-37, np.float32)
        case (_, _, factor):
            rms = np.sqrt(np.mean(np.square(vector, dtype=np.float64))) if size else 0
            half = 0.5 * float(factor) * rms
            return np.full(size, 1.0001 * half + 4e-37, np.float32)


@every_codec
@given(vector=st.one_of(tame, deltas()))
def test_a_round_trip_stays_within_the_codecs_bound(name: str, vector: Vector) -> None:
    codec = codec_named(name)
    decoded = codec.decode(codec.encode(vector), vector.size)
    assert decoded.dtype == np.float32
    slack = np.abs(vector) * np.float32(2**-22)
    assert (np.abs(decoded - vector) <= bound(codec, vector) + slack).all()


@every_codec
@given(vector=deltas())
def test_encoding_twice_gives_the_same_bytes_and_leaves_the_vector(
    name: str, vector: Vector
) -> None:
    codec, before = codec_named(name), vector.tobytes()
    assert codec.encode(vector) == codec.encode(vector)
    assert vector.tobytes() == before


@every_codec
@given(vector=wild)
def test_encode_refuses_or_keeps_every_vector_finite(name: str, vector: Vector) -> None:
    codec = codec_named(name)
    try:
        payload = codec.encode(vector)
    except EncodeError:
        return
    assert np.isfinite(vector).all()
    assert np.isfinite(codec.decode(payload, vector.size)).all()


@every_codec
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_diverged_delta_is_not_encoded(name: str, value: float) -> None:
    with pytest.raises(EncodeError, match="finite"):
        codec_named(name).encode(np.array([1.0, value], np.float32))


def decodes_or_refuses(codec: Codec, payload: bytes, size: int) -> None:
    try:
        decoded = codec.decode(payload, size)
    except DecodeError:
        return
    assert decoded.shape == (size,)
    assert decoded.dtype == np.float32
    assert np.isfinite(decoded).all()


@every_codec
@given(payload=st.binary(max_size=400), size=st.integers(0, 400))
def test_decode_is_total_on_any_bytes(name: str, payload: bytes, size: int) -> None:
    decodes_or_refuses(codec_named(name), payload, size)


@every_codec
@given(vector=deltas(), data=st.data())
def test_decode_is_total_on_damaged_payloads(
    name: str, vector: Vector, data: st.DataObject
) -> None:
    codec = codec_named(name)
    payload = bytearray(codec.encode(vector))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
    size = vector.size + data.draw(st.sampled_from([0, 0, 0, -1, 1, 70_000]))
    decodes_or_refuses(codec, bytes(payload), size)


@every_codec
def test_every_truncation_and_every_addition_is_refused(name: str) -> None:
    codec = codec_named(name)
    vector = np.random.default_rng(1).standard_t(3, 300).astype(np.float32)
    payload = codec.encode(vector)
    for end in range(len(payload)):
        with pytest.raises(DecodeError):
            codec.decode(payload[:end], vector.size)
    with pytest.raises(DecodeError):
        codec.decode(payload + b"\0", vector.size)


@every_codec
@pytest.mark.parametrize("size", [0, 1, 7, 8, 255, 256, 257, 65_536, 65_537])
def test_zeros_of_any_size_stay_zeros(name: str, size: int) -> None:
    codec = codec_named(name)
    decoded = codec.decode(codec.encode(np.zeros(size, np.float32)), size)
    assert decoded.tobytes() == bytes(4 * size)


@pytest.mark.parametrize(
    ("name", "payload", "size", "reason"),
    [
        ("f32", b"\0\0\xc0\x7f", 1, Reason.NOT_FINITE),
        ("f16", b"\0\x7c", 1, Reason.NOT_FINITE),
        ("int8", b"\0\0\x80\x7f\x01", 1, Reason.NOT_FINITE),
        ("int8", b"\0\0\x80\xbf\x01", 1, Reason.NOT_FINITE),
        ("uq", b"\0\0\xc0\x7f\0", 1, Reason.NOT_FINITE),
        ("uq", b"\xff\xff\x7f\x7f\x01\x80\x00\x04\x01", 1, Reason.NOT_FINITE),
        ("uq", b"\0\0\x80\x3f\x01\x00", 1, Reason.MALFORMED),
        ("f32", b"", 1, Reason.MALFORMED),
    ],
    ids=[
        "f32 holds NaN",
        "f16 holds infinity",
        "int8 scale is infinite",
        "int8 scale is negative",
        "uq step is NaN",
        "uq value overflows",
        "uq mask without a one",
        "f32 is too short",
    ],
)
def test_a_refusal_names_its_reason(
    name: str, payload: bytes, size: int, reason: Reason
) -> None:
    with pytest.raises(DecodeError) as refusal:
        codec_named(name).decode(payload, size)
    assert refusal.value.reason is reason


@pytest.mark.parametrize("name", ["", "UQ", "uq:", "uq:0", "uq:99", "uq:1e1", "int4"])
def test_an_unknown_codec_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(DecodeError) as refusal:
        codec_named(name)
    assert refusal.value.reason is Reason.WRONG_CODEC


@every_codec
def test_a_codec_has_the_name_it_was_asked_by(name: str) -> None:
    assert codec_named(name).name == name


def test_a_step_factor_outside_its_range_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="step factor"):
        uniform_quantizer(0.0)


def test_any_step_factor_is_decoded_by_the_default() -> None:
    vector = np.random.default_rng(2).normal(size=1000).astype(np.float32)
    payload = codec_named("uq:0.25").encode(vector)
    decoded = codec_named("uq").decode(payload, 1000)
    assert np.abs(decoded - vector).max() < 0.13


@pytest.mark.parametrize(
    ("factor", "bits"), [(1.0, 2.2), (2.0, 1.29), (4.0, 0.34), (16.0, 0.01)]
)
def test_the_default_codec_keeps_its_promised_size(factor: float, bits: float) -> None:
    # A normal vector is the worst case: real deltas have heavier tails, more zeros.
    vector = np.random.default_rng(3).normal(size=25_000).astype(np.float32)
    payload = uniform_quantizer(factor).encode(vector)
    assert 8 * len(payload) / vector.size <= bits


@pytest.mark.parametrize("name", ["uq:0.25", "uq"])
def test_decoding_a_bomb_needs_memory_for_the_asked_size_only(name: str) -> None:
    size = 200_000
    codec = codec_named(name)
    bomb = codec.encode(np.random.default_rng(4).normal(size=size).astype(np.float32))
    zeros = codec.encode(np.zeros(4 * size, np.float32))
    for payload, asked in [(bomb, size), (bomb, 10), (zeros, 10), (b"\xff" * 10**6, 9)]:
        tracemalloc.start()
        decodes_or_refuses(codec, payload, asked)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * asked + 3 * 2**20


SPREADS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "even": lambda rng, size: rng.uniform(-1, 1, size),
    "two values": lambda rng, size: rng.choice([-1.0, 1.0], size),
    "heavy tails": lambda rng, size: rng.standard_t(2, size),
    "mostly zero": lambda rng, size: rng.normal(size=size) * (rng.random(size) < 0.1),
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("size", [300, 13_098, 100_000])
def test_the_default_codec_keeps_to_its_size_and_still_says_something(
    spread: str, size: int
) -> None:
    vector = SPREADS[spread](np.random.default_rng(size), size).astype(np.float32)
    codec = codec_named("uq")
    payload = codec.encode(vector)
    assert len(payload) <= MOST_BITS * size / 8 + ALLOWANCE_BYTES
    if spread != "two values":  # a step of twice the RMS rounds +-RMS to zero
        decoded = codec.decode(payload, size)
        assert np.square(decoded - vector).sum() < 0.8 * np.square(vector).sum()


@pytest.mark.parametrize("layer", [2, 3], ids=["bits", "gaps"])
def test_a_stream_is_not_inflated_beyond_what_its_layer_can_have(layer: int) -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(bytes(50 * 2**20)) + deflate.flush()
    payload = b"\0\0\x80\x3f" + struct.pack("<BH", layer, len(body)) + body
    tracemalloc.start()
    with pytest.raises(DecodeError, match="DEFLATE"):
        codec_named("uq").decode(payload, 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize(
    "path", sorted(VECTORS.glob("codec_*.json")), ids=lambda path: path.stem
)
def test_stored_payloads_decode_to_the_same_bits_for_ever(path: Path) -> None:
    stored = json.loads(path.read_text())
    codec = codec_named(stored["codec"])
    for case in stored["cases"]:
        decoded = codec.decode(bytes.fromhex(case["payload"]), case["size"])
        assert decoded.astype("<f4").tobytes().hex() == case["decoded"], case["case"]


def test_every_codec_has_stored_payloads() -> None:
    stored = {path.stem.removeprefix("codec_") for path in VECTORS.glob("codec_*.json")}
    assert stored == set(CODECS)
