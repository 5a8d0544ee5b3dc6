"""Bombs: what unpacks to far more than it may is refused in bounded memory."""

import io
import struct
import tracemalloc
import zipfile
import zlib
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from broker_server.backup import restore
from broker_server.tar_entries import entries
from wire_protocol.codecs import codec_named
from wire_protocol.entropy import Layer
from wire_protocol.errors import ConfigError, DecodeError, RefusedError
from wire_protocol.npz import load_arrays
from wire_protocol.uniform_quantizer import CHUNK

BOMB_BYTES = 16 << 20
MOST_BYTES = 2 << 20


@cache
def deflated(size: int) -> bytes:
    """Return ``size`` zeros as a raw DEFLATE stream: a thousandth of that."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(bytes(size)) + deflate.flush()


def peak_of(attempt: Callable[[], object]) -> int:
    """Return the most memory that ``attempt`` took, in bytes."""
    tracemalloc.start()
    try:
        attempt()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [8, 1000, CHUNK])
@pytest.mark.parametrize("layer", [Layer.BITMAP_HUFFMAN, Layer.GAPS_HUFFMAN])
def test_a_layer_of_a_delta_is_unpacked_to_its_chunk_and_no_further(
    layer: Layer, size: int
) -> None:
    body = deflated(BOMB_BYTES)[:0xFFFF]
    bomb = struct.pack("<fBH", 1.0, layer, len(body)) + body

    def attempt() -> None:
        with pytest.raises(DecodeError, match="does not end"):
            codec_named("uq").decode(bomb, size)

    assert peak_of(attempt) < MOST_BYTES


def test_magnitudes_of_a_delta_are_unpacked_to_their_number_and_no_further() -> None:
    body = deflated(BOMB_BYTES)[:0xFFFF]
    ones = struct.pack("<fBB", 1.0, Layer.BITMAP, 0xFF) + b"\0"
    bomb = ones + struct.pack("<BH", Layer.BYTES_HUFFMAN, len(body)) + body

    def attempt() -> None:
        with pytest.raises(DecodeError, match="does not end"):
            codec_named("uq").decode(bomb, 8)

    assert peak_of(attempt) < MOST_BYTES


def npz_of(shape: tuple[int, ...], *, content: int) -> bytes:
    """Return an archive whose array says ``shape`` and has ``content`` bytes."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        member, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("x.npy", member.getvalue() + bytes(content))
    return file.getvalue()


@pytest.mark.parametrize(
    ("shape", "says"),
    [((10,), "fewer or more bytes"), ((BOMB_BYTES // 4,), "are allowed")],
    ids=["it declares little", "it declares all of it"],
)
def test_an_array_is_unpacked_to_what_it_declares_and_may_be(
    tmp_path: Path, shape: tuple[int, ...], says: str
) -> None:
    path = tmp_path / "bomb.npz"
    path.write_bytes(npz_of(shape, content=BOMB_BYTES))
    assert path.stat().st_size < BOMB_BYTES / 500

    def attempt() -> None:
        with pytest.raises(ConfigError, match=says):
            load_arrays(path, ["x"], max_bytes=1 << 20)

    assert peak_of(attempt) < MOST_BYTES


def tar_claiming(size: int) -> bytes:
    """Return an archive whose one entry claims ``size`` bytes, and has none."""
    head = bytearray(512)
    head[:10] = b"index.json"
    head[124:136] = b"%011o\0" % size
    head[156:157] = b"0"
    head[257:263] = b"ustar\0"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def test_an_entry_of_a_backup_may_claim_what_it_likes() -> None:
    entry = next(entries(io.BytesIO(tar_claiming(8**11 - 1))))

    def attempt() -> None:
        with pytest.raises(RefusedError, match="cut short"):
            deque(entry.chunks(), maxlen=0)

    assert peak_of(attempt) < MOST_BYTES


def test_a_packed_backup_is_none(tmp_path: Path) -> None:
    path = tmp_path / "backup.tar"
    path.write_bytes(zlib.compress(bytes(BOMB_BYTES), 9, 31))

    def attempt() -> None:
        with pytest.raises(RefusedError, match="none of ours"):
            restore(path, tmp_path / "state")

    assert peak_of(attempt) < MOST_BYTES
    assert not (tmp_path / "state").exists()
