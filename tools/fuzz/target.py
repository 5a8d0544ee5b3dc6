"""A target: one parser, what it may raise, and what its inputs look like."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias

from tools.fuzz.shapes import BYTES, Shape
from wire_protocol.errors import DecodeError

Entry: TypeAlias = Callable[[bytes], object]
"""Hands one input to a parser, and asserts what must hold of what it gives.

If it returns a text, that tells kinds of outcomes apart.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """One parser.

    Attributes:
        name: What is parsed.
        group: Which of the groups in ``docs/fuzzing.md`` it belongs to.
        seeds: Valid inputs.
        open: Returns the entry; given a folder for its files. What it keeps is of one
            run, and it is called anew every ``fresh_after`` inputs.
        typed: The exceptions that the parser documents. Any other is a defect.
        shape: Of its inputs.
        generate: Makes an input from nothing, where mutations would find too little.
        share: Inputs for each one of a target with share 1.
        max_bytes: Longest input.
        bytes_each: Memory it may take for each byte of input,
        bytes_more: and beside that: what its outcome takes, however short the input.
        fresh_after: See ``open``.
    """

    name: str
    group: str
    seeds: Sequence[bytes]
    open: Callable[[Path], Entry]
    typed: tuple[type[Exception], ...] = (DecodeError,)
    shape: Shape = BYTES
    generate: Callable[[Random], bytes] | None = None
    share: float = 1.0
    max_bytes: int = 16 * 1024
    bytes_each: int = 64
    bytes_more: int = 1 << 20
    fresh_after: int = 1000


def always(entry: Entry) -> Callable[[Path], Entry]:
    """Return an ``open`` for an entry without files and state."""

    def opened(_folder: Path) -> Entry:
        return entry

    return opened
