"""Segment files: examples of one form, one after the other, each with a checksum.

    magic "EFX1" | u32 length of the header | u32 CRC-32 of it | header, JSON
    then for each example: u32 CRC-32 of its number and the rest | x | y

Everything is little-endian and a multiple of four bytes. A segment holds as many
examples as there are before its end, or before the first that is damaged: a power cut
while it grew costs its torn tail and nothing else.
"""

import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from edge_agent.examples import Examples
from wire_protocol.errors import DecodeError
from wire_protocol.fields import Fields, json_object

MAGIC: Final = b"EFX1"
SUFFIX: Final = ".examples"
MAX_EXAMPLE_BYTES: Final = 16 << 20
MAX_SEGMENT_BYTES: Final = 1 << 30
_PREAMBLE: Final = 12
_MAX_HEADER: Final = 4096
_CHUNK_BYTES: Final = 1 << 20
_MAX_NUMBER: Final = 1 << 53

TargetKind: TypeAlias = Literal["classes", "numbers", "none"]
Words: TypeAlias = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Form:
    """What every example of a log is like.

    Attributes:
        shape: Of ``x``.
        targets: What ``y`` is: a class, ``outputs`` numbers, or absent.
        outputs: Numbers in ``y``; 1 for a class, 0 for none.
        recipe: Names what made the examples, so that no two kinds are mixed.
    """

    shape: tuple[int, ...]
    targets: TargetKind
    outputs: int
    recipe: str = ""

    def __post_init__(self) -> None:
        sides = 0 < len(self.shape) <= 4 and all(0 < n <= 1 << 20 for n in self.shape)
        outputs = {"classes": self.outputs == 1, "none": self.outputs == 0}
        if (
            not sides
            or not outputs.get(self.targets, 0 < self.outputs <= 1 << 20)
            or 4 * self.words > MAX_EXAMPLE_BYTES
        ):
            raise DecodeError(
                f"no examples have shape {list(self.shape)} and {self.outputs} "
                f"{self.targets}"
            )

    @property
    def words(self) -> int:
        """Four-byte words of an example's record."""
        return 1 + math.prod(self.shape) + self.outputs

    @property
    def record_bytes(self) -> int:
        """Bytes of an example's record."""
        return 4 * self.words

    def examples(self, words: Words) -> Examples:
        """Read records ``[N, words]``."""
        size, count = math.prod(self.shape), len(words)
        x = words[:, 1 : 1 + size].view(np.float32).reshape(count, *self.shape)
        y = words[:, 1 + size :]
        if self.targets == "classes":
            return Examples(x, y[:, 0].view(np.int32))
        return Examples(x, y.view(np.float32))


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment file as it was found or left.

    ``first`` is the number of its first example, ``start`` the byte where that begins.
    """

    path: Path
    form: Form
    first: int
    count: int
    start: int

    @property
    def end(self) -> int:
        """Byte behind the last good example."""
        return self.start + self.count * self.form.record_bytes


def segment_name(first: int) -> str:
    """Return the file name of the segment that begins with example ``first``."""
    return f"{first:015d}{SUFFIX}"


def encode_header(form: Form, *, first: int) -> bytes:
    """Return what a segment begins with."""
    plain = {
        "first": first,
        "outputs": form.outputs,
        "recipe": form.recipe,
        "shape": "x".join(map(str, form.shape)),
        "targets": form.targets,
    }
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 4)
    numbers = np.array([len(text), zlib.crc32(text)], "<u4")
    return MAGIC + numbers.tobytes() + text


def encode_records(form: Form, examples: Examples, *, first: int) -> bytes:
    """Return the records of examples that are numbered from ``first``."""
    words = np.empty((examples.count, form.words), "<u4")
    size = math.prod(form.shape)
    x = np.ascontiguousarray(examples.x, "<f4").reshape(examples.count, size)
    words[:, 1 : 1 + size] = x.view("<u4")
    kind = "<i4" if form.targets == "classes" else "<f4"
    y = np.ascontiguousarray(examples.y, kind).reshape(examples.count, form.outputs)
    words[:, 1 + size :] = y.view("<u4")
    for index, crc in enumerate(_checksums(words, first=first)):
        words[index, 0] = crc
    return words.tobytes()


def open_segment(path: Path) -> Segment:
    """Look at a segment file; nothing is changed, memory is bounded.

    Raises:
        DecodeError: It is none, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            preamble = file.read(_PREAMBLE)
            if len(preamble) < _PREAMBLE or preamble[:4] != MAGIC:
                raise DecodeError(f"{path.name} does not begin as a segment does")
            length, crc = (int(n) for n in np.frombuffer(preamble[4:], "<u4"))
            if not 0 < length <= _MAX_HEADER:
                raise DecodeError(f"{path.name} has a header of {length} bytes")
            text = file.read(length)
        if len(text) != length or zlib.crc32(text) != crc:
            raise DecodeError(f"the header of {path.name} is damaged")
        form, first = _read_header(text)
        start = _PREAMBLE + length
        count = _whole_records(path, form, start=start)
        return _checked(Segment(path, form, first, count, start=start))
    except OSError as error:
        raise DecodeError(f"{path} cannot be read: {error.strerror}") from error


def read_records(segment: Segment, start: int, stop: int) -> Words:
    """Read records ``start`` to ``stop - 1`` of a segment, ``[N, words]``.

    Raises:
        DecodeError: They cannot be read (any more).
    """
    form = segment.form
    try:
        words = np.fromfile(
            segment.path,
            "<u4",
            count=(stop - start) * form.words,
            offset=segment.start + start * form.record_bytes,
        )
    except OSError as error:
        raise DecodeError(f"{segment.path} cannot be read: {error.strerror}") from error
    if words.size != (stop - start) * form.words:
        raise DecodeError(f"{segment.path} is shorter than it was")
    return cast("Words", words.reshape(-1, form.words).astype(np.uint32, copy=False))


def _read_header(text: bytes) -> tuple[Form, int]:
    fields = Fields(json_object(text, what="a segment's header"), owner="segment")
    sides = fields.text("shape").split("x")
    if not all(side.isascii() and side.isdecimal() and len(side) < 9 for side in sides):
        raise DecodeError("a segment's shape is numbers with x between them")
    targets = fields.text("targets")
    if targets not in ("classes", "numbers", "none"):
        raise DecodeError(f"a segment's targets are not {targets!r:.20}")
    form = Form(
        tuple(int(side) for side in sides),
        cast("TargetKind", targets),
        fields.whole("outputs", most=1 << 20),
        fields.text("recipe"),
    )
    return form, fields.whole("first", most=_MAX_NUMBER)


def _whole_records(path: Path, form: Form, *, start: int) -> int:
    size = min(path.stat().st_size, MAX_SEGMENT_BYTES)
    return max(0, size - start) // form.record_bytes


def _checked(segment: Segment) -> Segment:
    """Return ``segment`` up to its first example that is damaged."""
    step = max(1, _CHUNK_BYTES // segment.form.record_bytes)
    for start in range(0, segment.count, step):
        words = read_records(segment, start, min(start + step, segment.count))
        expected = _checksums(words, first=segment.first + start)
        for index, crc in enumerate(expected):
            if crc != words[index, 0]:
                return replace(segment, count=start + index)
    return segment


def _checksums(words: NDArray[Any], *, first: int) -> Iterator[int]:
    for index in range(len(words)):
        number = (first + index).to_bytes(8, "little")
        yield zlib.crc32(words[index, 1:].tobytes(), zlib.crc32(number))
