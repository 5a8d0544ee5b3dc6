"""The entropy coder is lossless, strict, and as small as it says."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from wire_protocol.entropy import (
    MAX_LEVEL,
    Layer,
    Levels,
    Payload,
    Reader,
    pack,
    unpack,
)
from wire_protocol.errors import DecodeError

levels = st.one_of(
    arrays(np.int32, st.integers(0, 400), elements=st.integers(-MAX_LEVEL, MAX_LEVEL)),
    arrays(np.int32, st.integers(0, 2000), elements=st.integers(-3, 3)),
    arrays(
        np.int32, st.integers(0, 2000), elements=st.integers(-1, 0), fill=st.just(0)
    ),
)


def shaped(kind: str, size: int = 65_536) -> Levels:
    """Return levels that make the encoder choose the layers named by ``kind``."""
    rng = np.random.default_rng(5)
    drawn: NDArray[Any]
    match kind:
        case "one":
            drawn = np.zeros(size)
            drawn[size // 3] = -1
        case "sparse":
            drawn = (rng.random(size) < 0.005) * rng.integers(1, 400, size)
        case "even":
            drawn = rng.integers(-1, 2, size)
        case "dense":
            drawn = rng.normal(0, 40, size)
        case "wide":
            drawn = rng.integers(-MAX_LEVEL, MAX_LEVEL, size)
        case _:
            # Each mask keeps just under half, so the masks run out first.
            drawn = rng.geometric(0.52, size) - 1
    return np.rint(drawn).astype(np.int32)


def unpacked(reader: Reader, size: int) -> Levels:
    positions, nonzero = unpack(reader, size)
    assert nonzero.all()
    assert (np.diff(positions) > 0).all()
    whole = np.zeros(size, np.int32)
    whole[positions] = nonzero
    return whole


@given(drawn=levels)
def test_packing_is_lossless(drawn: Levels) -> None:
    reader = Reader(pack(drawn))
    assert unpacked(reader, drawn.size).tolist() == drawn.tolist()
    reader.close()


@pytest.mark.parametrize("kind", ["one", "sparse", "even", "dense", "wide", "deep"])
def test_packing_is_lossless_in_every_layer(kind: str) -> None:
    drawn = shaped(kind)
    reader = Reader(pack(drawn))
    assert np.array_equal(unpacked(reader, drawn.size), drawn)
    reader.close()


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("one", Layer.GAPS_HUFFMAN),
        ("sparse", Layer.GAPS_HUFFMAN),
        ("even", Layer.BITMAP_HUFFMAN),
        ("dense", Layer.BITMAP_HUFFMAN),
        ("wide", Layer.BITMAP_HUFFMAN),
    ],
)
def test_the_first_layer_fits_the_density(kind: str, layer: Layer) -> None:
    assert pack(shaped(kind))[0] == layer


@pytest.mark.parametrize("density", [0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.45])
def test_size_is_close_to_the_entropy(density: float) -> None:
    rng = np.random.default_rng(6)
    drawn = (rng.random(65_536) < density) * rng.choice([-1, 1], 65_536)
    zero = 1 - density
    entropy = -zero * np.log2(zero) - density * np.log2(density) + density
    assert 8 * len(pack(drawn.astype(np.int32))) <= 1.06 * entropy * drawn.size + 800


@pytest.mark.parametrize(
    ("chunk", "size"),
    [
        (bytes([Layer.BYTES]) + b"\x01", 1),
        (bytes([Layer.BYTES_HUFFMAN]) + b"\x01", 1),
        (b"\x06\x80", 1),
        (bytes([Layer.BITMAP]) + b"\x81\x80" + b"\0", 1),
        (bytes([Layer.BITMAP]) + b"\x80\x40" + b"\0", 1),
        (bytes([Layer.BITMAP]) + b"\x00" + b"\0", 1),
        (bytes([Layer.BITMAP]) + b"\x80\x00" + (b"\x01\x80" * 17) + b"\0", 1),
        (bytes([Layer.BITMAP]) + b"\x80\x00\x04\xff\x01\0\0\0", 1),
        (bytes([Layer.BITMAP]) + b"\x80\x00\x04\xff\x01\0\0\x01", 1),
        (bytes([Layer.BITMAP_HUFFMAN]) + b"\x02\x00zz", 8),
        (bytes([Layer.GAPS_HUFFMAN]) + b"\x02\x00\x03\x00", 8),
    ],
    ids=[
        "bytes as the first layer",
        "coded bytes as the first layer",
        "unknown layer",
        "padding after the mask",
        "padding after the signs",
        "empty mask",
        "too many masks",
        "small value escaped",
        "value over the limit",
        "not DEFLATE",
        "no gaps",
    ],
)
def test_a_chunk_that_breaks_a_rule_is_refused(chunk: bytes, size: int) -> None:
    with pytest.raises(DecodeError):
        unpack(Reader(chunk), size)


@pytest.mark.parametrize("opened", [bytes, memoryview, io.BytesIO])
def test_a_reader_takes_all_there_is_and_no_more(
    opened: Callable[[bytes], Payload],
) -> None:
    reader = Reader(opened(b"abc"))
    assert bytes(reader.take(2)) == b"ab"
    with pytest.raises(DecodeError, match="more bytes follow the 2"):
        reader.close()
    reader = Reader(opened(b"abc"))
    reader.take(2)
    assert bytes(reader.take(1)) == b"c"
    reader.close()
    with pytest.raises(DecodeError, match="ends at 3, 4 were expected"):
        reader.take(1)
