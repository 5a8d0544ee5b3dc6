"""Byte mutations: the ways in which bytes go wrong. This module is pure.

>>> mutated(b"EFD1", rng=Random(1), others=[b"another"]) != b"EFD1"
True
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, TypeAlias

Mutation: TypeAlias = Callable[[bytearray, Random], None]

_EDGES: Final = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF)
_LARGE_EDGES: Final = (0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, 1 << 63)
_WIDTHS: Final = (1, 2, 4, 8)
_LONGEST_RUN: Final = 2000


def mutated(raw: bytes, *, rng: Random, others: Sequence[bytes]) -> bytes:
    """Return ``raw`` with one thing changed, perhaps by a part of one of ``others``."""
    changed = bytearray(raw)
    if others and rng.random() < 0.1:
        _splice(changed, rng, rng.choice(others))
    else:
        rng.choice(_MUTATIONS)(changed, rng)
    return bytes(changed)


def _flip(raw: bytearray, rng: Random) -> None:
    if raw:
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)


def _replace(raw: bytearray, rng: Random) -> None:
    if raw:
        raw[rng.randrange(len(raw))] = rng.randrange(256)


def _insert(raw: bytearray, rng: Random) -> None:
    at = rng.randint(0, len(raw))
    raw[at:at] = rng.randbytes(rng.choice((1, 1, 2, 4, 16)))


def _cut(raw: bytearray, rng: Random) -> None:
    at = rng.randint(0, len(raw))
    del raw[at : at + rng.choice((1, 1, 2, 4, 16, 256))]


def _truncate(raw: bytearray, rng: Random) -> None:
    del raw[rng.randint(0, len(raw)) :]


def _repeat(raw: bytearray, rng: Random) -> None:
    at = rng.randint(0, len(raw))
    part = raw[at : at + rng.choice((1, 2, 8, 64))]
    if part:
        raw[at:at] = part * rng.randint(1, max(1, _LONGEST_RUN // len(part)))


def _number(raw: bytearray, rng: Random) -> None:
    """Overwrite a number of 1 to 8 bytes by one at the edge of a range."""
    width = rng.choice(_WIDTHS)
    if len(raw) >= width:
        value = rng.choice(_EDGES + _LARGE_EDGES) & ((1 << 8 * width) - 1)
        at = rng.randint(0, len(raw) - width)
        raw[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))


def _digits(raw: bytearray, rng: Random) -> None:
    """Replace a run of decimal digits, wherever there is one near a random place."""
    start = rng.randint(0, len(raw))
    while start < len(raw) and not 0x30 <= raw[start] <= 0x39:
        start += 1
    end = start
    while end < len(raw) and 0x30 <= raw[end] <= 0x39:
        end += 1
    if start < end:
        value = rng.choice((*_EDGES, *_LARGE_EDGES, -1, 10**400))
        raw[start:end] = str(value).encode()


def _noise(raw: bytearray, rng: Random) -> None:
    start = rng.randint(0, len(raw))
    end = min(len(raw), start + rng.choice((4, 32, 256)))
    raw[start:end] = rng.randbytes(end - start)


def _splice(raw: bytearray, rng: Random, other: bytes) -> None:
    start = rng.randint(0, len(other))
    part = other[start : start + rng.choice((4, 64, 1024))]
    at = rng.randint(0, len(raw))
    raw[at : at + rng.choice((0, len(part)))] = part


_MUTATIONS: Final[tuple[Mutation, ...]] = (
    *(_flip, _replace, _insert, _cut, _truncate),
    *(_repeat, _number, _number, _digits, _noise),
)
