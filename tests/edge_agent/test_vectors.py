"""Vectors on disk: the same bits again, or an error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.state_files import StateFiles
from edge_agent.vectors import VectorFile, read_vectors, write_vectors
from wire_protocol.errors import DecodeError
from wire_protocol.params import Vector


def vector(size: int, *, seed: int = 0) -> Vector:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def written(folder: Path, *, count: int = 2, size: int = 5) -> Path:
    path = folder / "file.vectors"
    vectors = [vector(size, seed=seed) for seed in range(count)]
    write_vectors(StateFiles(folder), path, vectors=vectors, head={"epoch": 3})
    return path


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("size", [1, 1000])
def test_what_was_written_is_read_to_the_bit(
    tmp_path: Path, count: int, size: int
) -> None:
    found = read_vectors(written(tmp_path, count=count, size=size))
    assert found.head.whole("epoch") == 3
    for seed, one in enumerate(found.of_sizes(*[size] * count)):
        assert one.dtype == np.float32
        assert one.tobytes() == vector(size, seed=seed).tobytes()


def test_a_view_that_is_not_contiguous_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    every_other = vector(10)[::2]
    write_vectors(StateFiles(tmp_path), path, vectors=[every_other], head={})
    np.testing.assert_array_equal(read_vectors(path).vectors[0], every_other)


def test_another_size_than_expected_is_told(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="expected"):
        read_vectors(written(tmp_path)).of_sizes(5, 6)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(DecodeError, match="cannot be read"):
            read_vectors(path)


def test_a_value_that_is_not_finite_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    bad = np.array([1, np.inf], np.float32)
    write_vectors(StateFiles(tmp_path), path, vectors=[bad], head={})
    with pytest.raises(DecodeError, match="not finite"):
        read_vectors(path)


@given(data=st.data())
def test_every_changed_byte_and_every_cut_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = written(tmp_path_factory.mktemp("vectors"))
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        index = data.draw(st.integers(0, len(raw) - 1))
        raw[index] ^= data.draw(st.integers(1, 255))
    else:
        length = data.draw(st.integers(0, len(raw) + 9).filter(lambda n: n != len(raw)))
        raw = (raw + bytes(9))[:length]
    path.write_bytes(raw)
    with pytest.raises(DecodeError):
        read_vectors(path)


heads = st.dictionaries(
    st.sampled_from(["size", "count", "epoch"]),
    st.one_of(st.integers(), st.floats(), st.text(max_size=4), st.none()),
)


@given(
    raw=st.one_of(
        st.binary(max_size=200),
        st.tuples(heads, st.binary(max_size=100)).map(
            lambda parts: _built(str(parts[0]).encode(), parts[1])
        ),
    )
)
def test_whatever_the_bytes_reading_ends_with_vectors_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.mktemp("vectors") / "file"
    path.write_bytes(raw)
    try:
        found = read_vectors(path)
    except DecodeError:
        return
    assert isinstance(found, VectorFile)


def _built(head: bytes, rest: bytes) -> bytes:
    text = head.replace(b"'", b'"')
    return b"EFV1" + len(text).to_bytes(4, "little") + text + rest
