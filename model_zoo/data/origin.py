"""Where a set that does not ship with the package comes from, and how it is found.

A set is looked for as ``$EDGEFED_DATA/<folder>/data.npz``. Its content is verified by
one SHA-256 over the arrays, so that repacking a file changes nothing and any other
change, however small, is an error.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_zoo.data.npz import Array, Wanted, load_arrays
from wire_protocol.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Origin:
    """One published set: which arrays it has, their digest, and whom to thank."""

    name: str
    folder: str
    arrays: Wanted
    max_bytes: int
    content_sha256: str
    source: str
    licence: str
    citation: str


def content_sha256(arrays: Mapping[str, Array]) -> str:
    """SHA-256, in hex, of names, dtypes, shapes and C-order bytes, sorted by name."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {list(array.shape)}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def load_origin(origin: Origin, environ: Mapping[str, str]) -> dict[str, Array]:
    """Find, read and verify the arrays of ``origin``.

    Args:
        origin: What to load.
        environ: The process environment; ``EDGEFED_DATA`` is the folder of data sets.

    Raises:
        ConfigError: The set is missing, broken, or not the published one.
    """
    root = environ.get("EDGEFED_DATA", "")
    path = Path(root) / origin.folder / "data.npz"
    if not root or not path.is_file():
        looked = f"{path} is no file" if root else "EDGEFED_DATA is not set"
        raise ConfigError(
            f"the data set {origin.name} is not here: {looked}",
            remedy=how_to_get(origin),
        )
    arrays = load_arrays(path, origin.arrays, max_bytes=origin.max_bytes)
    found = content_sha256(arrays)
    if found != origin.content_sha256:
        raise ConfigError(
            f"{path} is not the published {origin.name}: the SHA-256 of its arrays is "
            f"{found[:16]}..., expected {origin.content_sha256[:16]}...",
            remedy=how_to_get(origin),
        )
    return arrays


def how_to_get(origin: Origin) -> str:
    """Say in one line where the set goes, and whose it is under which licence."""
    return (
        f"put {origin.folder}/data.npz into a folder and set EDGEFED_DATA to it; "
        f"origin {origin.source}, {origin.licence}, cite {origin.citation}"
    )
