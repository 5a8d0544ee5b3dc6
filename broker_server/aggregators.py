"""Aggregators: one mean delta out of the client updates of a merge, chunk by chunk.

Updates stay encoded. A pass over a ``Cohort`` decodes the same 65,536 parameters of
every update, then the next ones, so memory is that of the model and of one chunk. An
aggregator is two pure functions: ``weigh`` gives every update a factor, and may go over
the cohort first (robust rules are functions of the updates' inner products);
``combine`` makes a chunk of the mean from the updates times their factors. This module
is pure.

>>> def opened(scratch: Vector, factors: Sequence[float]) -> list[Iterator[Vector]]:
...     deltas = [np.full(2, 4.0, np.float32), np.zeros(2, np.float32)]
...     return [iter([delta * f]) for delta, f in zip(deltas, factors)]
>>> aggregated(Cohort(2, (3.0, 1.0), opened), weighted_mean()).tolist()
[3.0, 3.0]
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wire_protocol.errors import EmptyRoundError
from wire_protocol.params import Vector
from wire_protocol.uniform_quantizer import CHUNK


@dataclass(frozen=True, slots=True)
class Cohort:
    """The updates of one merge, in the order they count: deltas of ``size`` values.

    ``open(scratch, factors)`` begins a pass and returns the chunks of every update
    times its factor. All are written into ``scratch``, so each is to be used before
    the next is asked for.
    """

    size: int
    weights: tuple[float, ...]
    open: Callable[[Vector, Sequence[float]], Sequence[Iterator[Vector]]]

    @property
    def count(self) -> int:
        """How many updates there are."""
        return len(self.weights)

    def scaled(self, scales: Sequence[float], *, weights: Sequence[float]) -> "Cohort":
        """Return the cohort with every update times its scale, and other weights."""

        def opened(
            scratch: Vector, factors: Sequence[float]
        ) -> Sequence[Iterator[Vector]]:
            both = [one * other for one, other in zip(factors, scales, strict=True)]
            return self.open(scratch, both)

        return replace(self, weights=tuple(weights), open=opened)

    def chunks(
        self, factors: Sequence[float]
    ) -> Iterator[tuple[slice, Iterator[Vector]]]:
        """Yield which parameters a chunk is of, and its part of every update.

        Raises:
            DecodeError: An update is not what its codec writes.
        """
        scratch = np.empty(min(self.size, CHUNK), np.float32)
        updates = self.open(scratch, factors)
        for start in range(0, self.size, CHUNK):
            where = slice(start, min(start + CHUNK, self.size))
            yield where, map(next, updates)
        for update in updates:
            next(update, None)  # whether something follows is seen only here


@dataclass(frozen=True, slots=True)
class Aggregator:
    """``weigh(cohort)``: a factor for every update, however it is found.

    ``combine(rows, out)``: a chunk of every update, times its factor, into the mean's.
    """

    weigh: Callable[[Cohort], Sequence[float]]
    combine: Callable[[Iterable[Vector], Vector], None]


def aggregated(cohort: Cohort, aggregator: Aggregator) -> Vector:
    """Return what ``aggregator`` makes of ``cohort``: float32 ``[size]``."""
    factors = aggregator.weigh(cohort)
    mean = np.empty(cohort.size, np.float32)
    for where, rows in cohort.chunks(factors):
        aggregator.combine(rows, mean[where])
    return mean


def weighted_mean() -> Aggregator:
    """Average the deltas: Federated Averaging (McMahan et al., AISTATS 2017).

    The sum is kept in float32, one update after the other: the same bits on every
    machine (docs/adr/0010). ``weigh`` raises ``EmptyRoundError`` if nothing has weight.
    """

    def weigh(cohort: Cohort) -> Sequence[float]:
        total = sum(cohort.weights)
        if total <= 0.0:
            raise EmptyRoundError("a mean needs at least one update, none was added")
        return [weight / total for weight in cohort.weights]

    return Aggregator(weigh, added_up)


def added_up(rows: Iterable[Vector], out: Vector) -> None:
    """Write the sum of ``rows`` into ``out``, in their order: for ``combine``."""
    out.fill(0.0)
    for row in rows:
        out += row
