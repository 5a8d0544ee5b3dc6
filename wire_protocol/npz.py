"""Reading arrays from ``.npz`` files that may be broken or hostile.

``np.load`` evaluates headers and trusts declared sizes. This reader accepts what
``np.savez`` and ``np.savez_compressed`` write for plain little-endian arrays and
nothing else: no objects, no strings, no structures. It never evaluates or unpickles,
and it never holds more than ``max_bytes`` of array data.
"""

import math
import re
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import ConfigError

Array: TypeAlias = NDArray[np.generic]

_DTYPES: Final = frozenset(
    ["|b1", "|i1", "|u1"]
    + [f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)]
    + [f"<f{size}" for size in (2, 4, 8)]
)
_HEADER: Final = re.compile(
    rb"\{'descr': '([<|][a-z]\d)', 'fortran_order': (False|True), "
    rb"'shape': \((\d{1,12},|(?:\d{1,12}(?:, \d{1,12}){1,7})?)\), \} *\n"
)
_PREAMBLE: Final = b"\x93NUMPY\x01\x00"
_BROKEN: Final = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError, OverflowError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def load_arrays(
    path: Path, names: Iterable[str], *, max_bytes: int, optional: Iterable[str] = ()
) -> dict[str, Array]:
    """Read the arrays ``names`` of the ``.npz`` file at ``path``; they are read-only.

    Args:
        path: The file. Other arrays in it are never looked at.
        names: The arrays to read; dtypes and shapes are the caller's to check.
        max_bytes: The most bytes these arrays may take together.
        optional: Arrays to read as well, if they are there.

    Raises:
        OSError: The file cannot be opened.
        ConfigError: The file is broken or too large, or an array is missing or is not
            plain. Nothing else is ever raised, whatever the file holds.
    """
    arrays: dict[str, Array] = {}
    left = max_bytes
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                present = archive.NameToInfo
                more = (name for name in optional if f"{name}.npy" in present)
                for name in (*names, *more):
                    arrays[name] = _member(archive, name, max_bytes=left)
                    left -= arrays[name].nbytes
        except ConfigError as error:
            raise ConfigError(
                f"{path}: {error.problem}", remedy=error.remedy
            ) from error
        except _BROKEN as error:
            raise ConfigError(f"{path} cannot be read as .npz: {error}") from error
    return arrays


def _member(archive: zipfile.ZipFile, name: str, *, max_bytes: int) -> Array:
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ConfigError(f"array {name} is missing") from None
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ConfigError(f"array {name} is packed in a way np.savez does not use")
    with archive.open(info) as member:
        dtype, shape, order = _header(member, name)
        nbytes = dtype.itemsize * math.prod(shape)
        if nbytes > max_bytes:
            raise ConfigError(
                f"array {name} declares {nbytes} bytes; {max_bytes} are allowed",
                remedy="keep fewer examples",
            )
        # One byte more than declared, so that the end and its checksum are reached.
        data = member.read(nbytes + 1)
    if len(data) != nbytes:
        raise ConfigError(f"array {name} holds fewer or more bytes than {nbytes}")
    return np.ndarray(shape, dtype, buffer=data, order=order)


def _header(
    member: IO[bytes], name: str
) -> tuple[np.dtype[np.generic], tuple[int, ...], Literal["C", "F"]]:
    """Parse the version 1.0 header: dtype, shape and memory order ``C`` or ``F``."""
    start = member.read(len(_PREAMBLE) + 2)
    found = None
    if start.startswith(_PREAMBLE):
        header = member.read(int.from_bytes(start[len(_PREAMBLE) :], "little"))
        found = _HEADER.fullmatch(header)
    if found is None or found[1].decode() not in _DTYPES:
        raise ConfigError(f"array {name} is not a plain little-endian array")
    shape = tuple(int(side) for side in found[3].split(b",") if side)
    return np.dtype(found[1].decode()), shape, "F" if found[2] == b"True" else "C"
