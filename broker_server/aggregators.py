"""Aggregators: fold the client updates of one round into one mean delta.

An aggregator is three pure functions over an opaque state that is handed on: whoever
passes a state to ``add`` must use the returned one from then on, so that the sum may
be kept in place. This module is pure.

>>> mean = weighted_mean()
>>> state = mean.add(mean.zero(2), np.array([0.0, 4.0], np.float32), 3.0)
>>> state = mean.add(state, np.array([0.0, 0.0], np.float32), 1.0)
>>> mean.result(state).tolist()
[0.0, 3.0]
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import EmptyRoundError
from wire_protocol.params import Vector

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Aggregator(Generic[State]):
    """Fold updates one at a time: a round never holds all of them in memory."""

    zero: Callable[[int], State]
    add: Callable[[State, Vector, float], State]
    result: Callable[[State], Vector]


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """Sum of ``weight * delta``, float64 ``[size]``, and sum of ``weight``."""

    total: NDArray[np.float64]
    weight: float


def weighted_mean() -> Aggregator[WeightedSum]:
    """Average the deltas: Federated Averaging (McMahan et al., AISTATS 2017).

    The weight is the number of examples. ``result`` raises ``EmptyRoundError`` when
    nothing was added.
    """

    def zero(size: int) -> WeightedSum:
        return WeightedSum(np.zeros(size), 0.0)

    def add(state: WeightedSum, delta: Vector, weight: float) -> WeightedSum:
        total = state.total
        total += np.multiply(delta, weight, dtype=np.float64)
        return WeightedSum(total, state.weight + weight)

    def result(state: WeightedSum) -> Vector:
        if state.weight <= 0.0:
            raise EmptyRoundError("a mean needs at least one update, none was added")
        return (state.total / state.weight).astype(np.float32)

    return Aggregator(zero, add, result)
