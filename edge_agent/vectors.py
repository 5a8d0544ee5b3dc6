"""Vectors on disk: raw little-endian float32 under a small head, checked by SHA-256.

    "EFV2" | u32 length of head | head, JSON | SHA-256 of head and vectors | vectors

The head says which vectors of which sizes follow, and what else the writer wants to
know again. A file that was damaged, cut or made by somebody else is a ``DecodeError``;
memory is never more than the file's size.
"""

import hashlib
import json
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from edge_agent.state_files import StateFiles
from wire_protocol.errors import DecodeError
from wire_protocol.fields import Fields, json_object
from wire_protocol.params import MAX_PARAMS, Vector

MAX_HEAD_BYTES: Final = 4096
MAX_VECTORS: Final = 2
_MOST_VALUES: Final = 2 * MAX_PARAMS
"""Adam's state has two values for each parameter."""
_PREFIX: Final = struct.Struct("<4sI")
_MAGIC: Final = b"EFV2"
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class VectorFile:
    """What a file holds: the head's fields, and the vectors."""

    head: Fields
    vectors: tuple[Vector, ...]

    def of_sizes(self, *sizes: int) -> tuple[Vector, ...]:
        """Return the vectors, or raise ``DecodeError`` unless they have ``sizes``."""
        found = tuple(one.size for one in self.vectors)
        if found != sizes:
            raise DecodeError(f"vectors of {sizes} values expected, not {found}")
        return self.vectors


def write_vectors(
    files: StateFiles,
    path: Path,
    *,
    vectors: Sequence[Vector],
    head: Mapping[str, object],
) -> None:
    """Write ``vectors``, up to two, and a small ``head``.

    Raises:
        StorageError: They cannot be written.
    """
    plain = {**head, "sizes": [one.size for one in vectors]}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    contents = [_content(np.ascontiguousarray(one, "<f4")) for one in vectors]
    digest = hashlib.sha256(text)
    for content in contents:
        digest.update(content)
    start = _PREFIX.pack(_MAGIC, len(text)) + text + digest.digest()
    files.write(path, start, *contents)


def read_vectors(path: Path) -> VectorFile:
    """Read a file of ``write_vectors``.

    Raises:
        DecodeError: It is absent, damaged, or something else; nothing else is raised.
    """
    try:
        with path.open("rb") as file:
            return _read(file, length=path.stat().st_size)
    except OSError as error:
        raise DecodeError(f"{path.name} cannot be read: {error.strerror}") from error


def _read(file: BinaryIO, *, length: int) -> VectorFile:
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        raise DecodeError("not a file of vectors: too short")
    magic, head_bytes = _PREFIX.unpack(prefix)
    if magic != _MAGIC or head_bytes > MAX_HEAD_BYTES:
        raise DecodeError("not a file of vectors")
    text, digest = file.read(head_bytes), file.read(_DIGEST_BYTES)
    head = Fields(json_object(text, what="a head"), owner="head")
    sizes = head.wholes("sizes", most=MAX_VECTORS, greatest=_MOST_VALUES)
    expected = _PREFIX.size + head_bytes + _DIGEST_BYTES + 4 * sum(sizes)
    if length != expected:
        raise DecodeError(f"a file of {expected} bytes has {length}")
    found = hashlib.sha256(text)
    vectors = [_vector(file, size, found) for size in sizes]
    if found.digest() != digest:
        raise DecodeError("the vectors have another digest")
    if not all(np.isfinite(one).all() for one in vectors):
        raise DecodeError("a value is not finite")
    return VectorFile(head, tuple(vectors))


def _vector(file: BinaryIO, size: int, digest: "hashlib._Hash") -> Vector:
    vector = np.empty(size, "<f4")
    content = _content(vector)
    if file.readinto(content) != len(content):  # type: ignore[attr-defined]
        raise DecodeError("the file became shorter")
    digest.update(content)
    return vector if sys.byteorder == "little" else vector.astype(np.float32)


def _content(vector: Vector) -> memoryview:
    """Return the bytes of ``vector``, shared with it."""
    return vector.view(np.uint8).data
