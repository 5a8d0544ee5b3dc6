"""Dropout, with masks that are the same bit for bit on every runtime. Pure.

No runtime has a random operator that another one has too, so the mask is computed in
the graph: in whole numbers below 2**24, which float32 holds exactly, by sums, products
and ``floor`` alone. Two small vectors of words are drawn for the rows and two for the
columns of a batch; a pixel's word is made of its row's and its column's.
"""

import hashlib
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.backend import Backend, Tensor
from model_zoo.layers import Draw, Layer, Pullback, Seed, no_params
from wire_protocol.errors import ConfigError

WORDS: Final = 4096
"""Words are below: products of two stay below 2**24."""
ROUNDS: Final = 6
"""Of a Feistel network; after four, what words change by still shows a pattern."""


def dropout(rate: float) -> Layer:
    """Put zeros in place of a share ``rate`` in training, and scale up what is left.

    Srivastava et al. (2014). The share is rounded to 1 / 4096. Nothing happens in
    ``evaluate`` and ``infer``.
    """
    dropped = round(rate * WORDS)
    if not 0 <= dropped < WORDS:
        raise ConfigError(
            f"a dropout rate is at least 0 and below 1, not {rate}",
            remedy="give the share that is dropped, such as dropout(0.2)",
        )

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del params
        if seed is None:
            return x, lambda dy: (dy, ())
        shape = b.shape(x)
        size = (shape[0], math.prod(shape[1:]))
        kept = _kept(b, seed, size=size, dropped=dropped)
        mask = b.reshape(b.mul(kept, b.constant(WORDS / (WORDS - dropped))), shape)
        return b.mul(x, mask), lambda dy: (b.mul(dy, mask), ())

    return Layer("dropout", lambda shape: shape, no_params, apply, seeded=True)


def _kept(b: Backend, draw: Draw, *, size: tuple[int, int], dropped: int) -> Tensor:
    """Return ``[rows, columns]``, 0.0 with a chance of ``dropped / WORDS``, else 1.0.

    Any two pixels are drawn independently: their words differ by words of their own.
    """
    rows, columns = size
    words = drawn_words(b, draw, count=2 * (rows + columns))
    factor, offset = (
        b.reshape(b.crop(words, (start,), size=(rows,)), (rows, 1))
        for start in (0, rows)
    )
    factors, offsets = (
        b.reshape(b.crop(words, (start,), size=(columns,)), (1, columns))
        for start in (2 * rows, 2 * rows + columns)
    )
    # The product's upper bits hold little of the lower ones: keep those in between.
    mixed = b.floor(b.mul(b.mul(factor, b.constant(1 / 16)), factors))
    turns = b.mul(b.add(b.add(mixed, offset), offsets), b.constant(1 / WORDS))
    # One turn more, or not: is the rest of a turn at least the share dropped?
    share = b.constant((WORDS - dropped) / WORDS)
    return b.sub(b.floor(b.add(turns, share)), b.floor(turns))


def drawn_words(b: Backend, draw: Draw, *, count: int) -> Tensor:
    """Return ``[count]`` whole numbers in 0..4095 that look like chance.

    A Feistel network over 24 bits for each of them: its keys are constants, and the
    step's seed is its plaintext.
    """
    keys = _keys(draw.place, count)
    seed = b.as_float(draw.seed)
    high = b.floor(b.mul(seed, b.constant(1 / WORDS)))
    low = b.sub(seed, b.mul(high, b.constant(float(WORDS))))
    left = _wrapped(b, b.add(b.constant(keys[0]), b.reshape(low, (1,))))
    right = _wrapped(b, b.add(b.constant(keys[1]), b.reshape(high, (1,))))
    for key in keys[2:]:
        far = b.sub(right, b.constant(key))
        mixed = b.floor(b.mul(b.mul(far, far), b.constant(1 / 64)))
        left, right = right, _wrapped(b, b.add(left, mixed))
    return right


def _wrapped(b: Backend, a: Tensor) -> Tensor:
    """Return the rest of a division by ``WORDS``, a power of two: exact."""
    turns = b.floor(b.mul(a, b.constant(1 / WORDS)))
    return b.sub(a, b.mul(turns, b.constant(float(WORDS))))


def _keys(place: tuple[int, ...], count: int) -> NDArray[np.float64]:
    """Return words ``[2 + ROUNDS, count]`` of their own for each place in a model."""
    stream = hashlib.shake_128(f"edgefed dropout {place}".encode())
    raw = stream.digest(2 * (2 + ROUNDS) * count)
    words = np.frombuffer(raw, "<u2").reshape(2 + ROUNDS, count) % WORDS
    return words.astype(np.float64)
