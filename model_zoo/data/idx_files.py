"""From the published IDX files of MNIST and QMNIST to images with writers.

IDX is the format of LeCun's MNIST page: two zero bytes, the dtype (8: uint8, 12:
int32), the number of dimensions, each side as a big-endian uint32, then the values,
big-endian. A row of QMNIST's extended labels starts with class, NIST partition and
writer; its first rows are MNIST's images in MNIST's order (Yadav and Bottou 2019).
"""

import gzip
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array

_DTYPES: Final[Mapping[int, np.dtype[np.generic]]] = {
    8: np.dtype("u1"),
    12: np.dtype(">i4"),
}
_CLASS, _WRITER = 0, 2


def read_idx(path: Path, *, shape: tuple[int, ...]) -> Array:
    """Read a gzipped IDX file of ``shape``; the array is read-only.

    Raises:
        ConfigError: The file is not gzip, not IDX, or of another shape.
    """
    start = 4 + 4 * len(shape)
    most = start + 4 * math.prod(shape)
    try:
        with gzip.open(path) as file:
            data = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path} cannot be read as gzip: {error}") from error
    dtype = _DTYPES.get(data[2]) if len(data) >= start else None
    found = data[start - 4 * len(shape) : start]
    if (
        dtype is None
        or (data[:2], data[3]) != (b"\0\0", len(shape))
        or struct.unpack(f">{len(shape)}I", found) != shape
        or len(data) != start + dtype.itemsize * math.prod(shape)
    ):
        raise ConfigError(f"{path} is not an IDX file of shape {list(shape)}")
    return np.ndarray(shape, dtype, buffer=data, offset=start)


def convert(files: Sequence[Path]) -> dict[str, Array]:
    """Turn train images and labels, test images and labels into the set's arrays.

    Raises:
        ConfigError: A file is not what it must be.
    """
    train_x, train_rows, test_x, test_rows = files
    x = [
        read_idx(train_x, shape=(60_000, 28, 28)),
        read_idx(test_x, shape=(10_000, 28, 28)),
    ]
    # QMNIST restored 50,000 test images that MNIST lost; they come after MNIST's own.
    rows = np.concatenate(
        [
            read_idx(train_rows, shape=(60_000, 8)),
            read_idx(test_rows, shape=(60_000, 8))[:10_000],
        ]
    )
    return {
        "x": np.concatenate(x),
        "y": rows[:, _CLASS].astype(np.uint8),
        "client_id": rows[:, _WRITER].astype(np.int32),
        "split": np.repeat(np.array([0, 1], np.uint8), [60_000, 10_000]),
    }
