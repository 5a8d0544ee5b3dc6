"""Reading .npz files gives the arrays or a ConfigError, whatever the file holds."""

import bz2
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from wire_protocol.errors import ConfigError
from wire_protocol.npz import load_arrays

DTYPES = [
    "?",
    "i1",
    "u1",
    "<i2",
    "<u2",
    "<i4",
    "<u4",
    "<i8",
    "<u8",
    "<f2",
    "<f4",
    "<f8",
]
NAMES = ("x", "y")
PLAIN = {dtype.lstrip("<") for dtype in DTYPES} - {"?"} | {"b1"}
one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def packed(save: Callable[..., None], **contents: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    save(file, **contents)
    return file.getvalue()


X = np.arange(6, dtype=np.float32).reshape(2, 3)
Y = np.array([0, 1], np.int32)
GOOD = [packed(save, x=X, y=Y) for save in (np.savez, np.savez_compressed)]


def read(folder: Path, content: bytes, *, max_bytes: int = 1000) -> None:
    """Read ``content``; give plain arrays in bounds or raise ``ConfigError``."""
    path = folder / "data.npz"
    path.write_bytes(content)
    found = load_arrays(path, NAMES, max_bytes=max_bytes)
    assert tuple(found) == NAMES
    assert all(array.dtype.str.lstrip("<|") in PLAIN for array in found.values())
    assert sum(array.nbytes for array in found.values()) <= max_bytes


@one_folder
@given(data=st.data(), dtype=st.sampled_from(DTYPES), fortran=st.booleans())
def test_what_numpy_saves_comes_back(
    tmp_path: Path, data: st.DataObject, dtype: str, fortran: bool
) -> None:
    shape = data.draw(array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    saved: NDArray[np.generic] = data.draw(arrays(np.dtype(dtype), shape))
    saved = np.asfortranarray(saved) if fortran else saved
    path = tmp_path / "a.npz"
    for save in (np.savez, np.savez_compressed):
        path.write_bytes(packed(save, a=saved))
        loaded = load_arrays(path, ["a"], max_bytes=saved.nbytes)["a"]
        assert loaded.dtype == saved.dtype
        np.testing.assert_array_equal(loaded, saved)


@one_folder
@given(content=st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError):
        read(tmp_path, content)


@settings(one_folder, max_examples=300)
@given(data=st.data(), good=st.sampled_from(GOOD))
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, data: st.DataObject, good: bytes
) -> None:
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    try:
        read(tmp_path, bytes(content))
    except ConfigError:
        return


@pytest.mark.parametrize("good", GOOD, ids=["stored", "compressed"])
def test_every_truncation_is_refused(tmp_path: Path, good: bytes) -> None:
    for end in range(len(good)):
        with pytest.raises(ConfigError):
            read(tmp_path, good[:end])


def npz_of(header: bytes, body: bytes = b"", *, how: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        length = len(header).to_bytes(2, "little")
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + length + header + body)
        y = io.BytesIO()
        np.save(y, Y)
        archive.writestr("y.npy", y.getvalue())
    return file.getvalue()


def header_of(descr: str, shape: str) -> bytes:
    return (
        f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    )


@one_folder
@given(
    header=st.binary(max_size=120)
    | st.from_regex(rb"\{'descr': '[<>|][a-z]\d', 'fortran_order': False, .{0,60}\n")
)
def test_an_arbitrary_header_is_read_or_refused(tmp_path: Path, header: bytes) -> None:
    try:
        read(tmp_path, npz_of(header, bytes(24)))
    except ConfigError:
        return


def encrypted(content: bytes) -> bytes:
    changed = bytearray(content)
    start = -1
    while (start := changed.find(b"PK\x01\x02", start + 1)) >= 0:
        changed[start + 8] |= 1
    start = -1
    while (start := changed.find(b"PK\x03\x04", start + 1)) >= 0:
        changed[start + 6] |= 1
    return bytes(changed)


def deflated(content: bytes) -> bytes:
    """Return the first nine packed bytes, behind the local header of ``x.npy``."""
    start = 30 + int.from_bytes(content[26:28], "little")
    start += int.from_bytes(content[28:30], "little")
    return content[start : start + 9]


HOSTILE = {
    "pickled objects": (
        packed(np.savez, x=np.array([[print]], object), y=Y),
        "x is not a plain little-endian array",
    ),
    "text": (packed(np.savez, x=np.array([["a"]]), y=Y), "x is not a plain"),
    "big-endian": (packed(np.savez, x=X.astype(">f4"), y=Y), "x is not a plain"),
    "a missing array": (packed(np.savez, x=X), "array y is missing"),
    "one array too large": (
        packed(np.savez, x=np.zeros((20, 20), np.float32), y=Y),
        "x declares 1600 bytes; 1000 are allowed",
    ),
    "together too large": (
        packed(np.savez, x=X, y=np.zeros(250, np.int32)),
        "y declares 1000 bytes; 976 are allowed",
    ),
    "a bomb": (
        npz_of(header_of("'<f4'", "(4, 4)"), bytes(10**7), how=zipfile.ZIP_DEFLATED),
        "fewer or more bytes than 64",
    ),
    "a huge declared shape": (
        npz_of(header_of("'<f4'", "(999999999999, 999999999999)")),
        "are allowed",
    ),
    "no bytes in a shape no array can have": (
        npz_of(header_of("'<f4'", "(0, 999999999999, 999999999999)")),
        "cannot be read as .npz",
    ),
    "fewer bytes than declared": (
        npz_of(header_of("'<f4'", "(4, 4)"), bytes(63)),
        "fewer or more bytes than 64",
    ),
    "a negative side": (npz_of(header_of("'<f4'", "(-1, 4)")), "x is not a plain"),
    # A pattern that can split digits in many ways would never come back from this.
    "too many digits": (
        npz_of(header_of("'<f4'", f"({'1' * 96})")),
        "x is not a plain",
    ),
    "too many sides": (
        npz_of(header_of("'<f4'", "(" + "1, " * 30 + "1)")),
        "x is not a plain",
    ),
    "code in the header": (
        npz_of(header_of("__import__('os').abort()", "(1, 4)")),
        "x is not a plain",
    ),
    "a structure": (npz_of(header_of("[('a', '<f4')]", "(1, 4)")), "x is not a plain"),
    "bzip2": (
        npz_of(header_of("'<f4'", "(1, 1)"), bytes(4), how=zipfile.ZIP_BZIP2),
        "packed in a way",
    ),
    "encryption": (encrypted(GOOD[0]), "cannot be read as .npz"),
    "a broken deflate stream": (
        GOOD[1].replace(deflated(GOOD[1]), b"\xff" * 9),
        "cannot be read as .npz: Error -3",
    ),
    "no zip": (bz2.compress(GOOD[0]), "cannot be read as .npz"),
    "nothing": (b"", "cannot be read as .npz"),
}


@pytest.mark.parametrize(("content", "says"), HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_content_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, content)


def test_what_cannot_be_opened_is_an_os_error(tmp_path: Path) -> None:
    for path in (tmp_path / "no.npz", tmp_path):
        with pytest.raises(OSError, match=path.name):
            load_arrays(path, NAMES, max_bytes=1000)


def test_an_optional_array_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    for contents in ({"x": X}, {"x": X, "y": Y}):
        path.write_bytes(packed(np.savez, **contents))
        found = load_arrays(path, ("x",), optional=("y",), max_bytes=1000)
        assert set(found) == set(contents)
    path.write_bytes(packed(np.savez, y=Y))
    with pytest.raises(ConfigError, match="array x is missing"):
        load_arrays(path, ("x",), optional=("y",), max_bytes=1000)
