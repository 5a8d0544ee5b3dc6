"""Decoding in chunks is decoding: the same bits, the same refusals, less memory."""

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_protocol.codecs import CODECS, Codec, codec_named
from wire_protocol.entropy import Payload
from wire_protocol.errors import DecodeError
from wire_protocol.params import Vector
from wire_protocol.uniform_quantizer import CHUNK

every_codec = pytest.mark.parametrize("name", [*CODECS, "uq:0.25", "uq:4"])
SIZES = (0, 1, 255, 257, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 300)
LONG = 3 * CHUNK + 5


def delta(size: int, seed: int = 0) -> Vector:
    rng = np.random.default_rng([size, seed])
    return (rng.standard_t(3, size) / 100).astype(np.float32)


def joined(codec: Codec, payload: Payload, size: int, factor: float = 1.0) -> Vector:
    chunks = codec.chunks(payload, size, factor=factor)
    return np.concatenate([np.zeros(0, np.float32), *(one.copy() for one in chunks)])


@every_codec
@pytest.mark.parametrize("size", SIZES)
def test_chunks_are_what_decode_returns_bit_for_bit(name: str, size: int) -> None:
    codec = codec_named(name)
    payload = codec.encode(delta(size))
    whole = codec.decode(payload, size).tobytes()
    for opened in (payload, memoryview(payload), io.BytesIO(payload)):
        assert joined(codec, opened, size).tobytes() == whole


@every_codec
@pytest.mark.parametrize("at", [1, 2, 3], ids=lambda at: f"{at} bytes in")
def test_a_payload_may_begin_anywhere(name: str, at: int) -> None:
    codec = codec_named(name)
    payload = codec.encode(delta(1000))
    inside = memoryview(bytes(at) + payload)[at:]
    assert (
        joined(codec, inside, 1000).tobytes() == codec.decode(payload, 1000).tobytes()
    )


@every_codec
@given(factor=st.floats(1e-6, 1.0), seed=st.integers(0, 99))
def test_a_factor_is_multiplied_in_with_one_more_rounding(
    name: str, factor: float, seed: int
) -> None:
    codec = codec_named(name)
    payload = codec.encode(delta(700, seed))
    expected = codec.decode(payload, 700).astype(np.float64) * np.float32(factor)
    scaled = joined(codec, payload, 700, factor)
    np.testing.assert_allclose(scaled, expected, rtol=2.0**-22, atol=1e-38)


@every_codec
def test_chunks_are_written_where_they_are_wanted(name: str) -> None:
    codec = codec_named(name)
    out = np.full(CHUNK, np.nan, np.float32)
    for chunk in codec.chunks(codec.encode(delta(CHUNK + 9)), CHUNK + 9, out=out):
        assert np.shares_memory(chunk, out)
        assert np.isfinite(chunk).all()


@every_codec
@pytest.mark.parametrize("position", range(4))
def test_a_payload_that_ends_in_any_chunk_is_refused_there(
    name: str, position: int
) -> None:
    codec = codec_named(name)
    payload = codec.encode(delta(LONG))
    end = len(payload) * (2 * position + 1) // 8
    for opened in (payload[:end], io.BytesIO(payload[:end])):
        with pytest.raises(DecodeError):
            joined(codec, opened, LONG)


@every_codec
def test_what_follows_the_last_chunk_is_refused(name: str) -> None:
    codec = codec_named(name)
    payload = codec.encode(delta(LONG)) + b"\0"
    for opened in (payload, io.BytesIO(payload)):
        with pytest.raises(DecodeError, match="follow"):
            joined(codec, opened, LONG)


@every_codec
@given(data=st.data())
def test_chunks_are_finite_or_refused_wherever_a_payload_is_damaged(
    name: str, data: st.DataObject
) -> None:
    codec = codec_named(name)
    size = CHUNK + 4000
    payload = bytearray(codec.encode(delta(size)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
    seen = 0
    try:
        for chunk in codec.chunks(bytes(payload), size):
            assert np.isfinite(chunk).all()
            seen += chunk.size
    except DecodeError:
        return
    assert seen == size


@every_codec
def test_chunks_of_a_file_take_the_memory_of_one_chunk(name: str) -> None:
    size = 32 * CHUNK
    codec = codec_named(name)
    file = io.BytesIO(codec.encode(delta(size)))
    scales = 8 * size // 256  # of int8, twice: as they were read, and as numbers
    tracemalloc.start()
    for _ in codec.chunks(file, size):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * CHUNK + scales


BOMBS = {
    "mostly ones": b"\0\0\x80\x3f" + (b"\x01" + b"\xff" * 8192 * 2 + b"\0") * 16,
    "too deep": b"\0\0\x80\x3f\x01"
    + b"\xff" * 8192 * 2
    + (b"\x01" + b"\xff" * 8192) * 20,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=list(BOMBS))
def test_a_hostile_payload_takes_the_memory_of_one_chunk(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        for _ in codec_named("uq").chunks(bomb, 32 * CHUNK):
            pass
    except DecodeError:
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * CHUNK
