"""Server optimizers: how the cohort's mean delta moves the global model.

The mean is a step downhill (trained - base), so it is added. This module is pure.

>>> optimizer = fedavgm(beta=0.5, learning_rate=1.0)
>>> w, v = optimizer.apply(np.zeros(1, np.float32), optimizer.init(1), np.ones(1, "f4"))
>>> w, v = optimizer.apply(w, v, np.ones(1, np.float32))
>>> w.tolist(), v.tolist()
([2.5], [1.5])
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wire_protocol.params import Vector


@dataclass(frozen=True, slots=True)
class ServerOptimizer:
    """``init(size)`` and ``apply(params, momentum, mean)``: new params and momentum.

    The momentum is a vector of ``size`` values, or empty for one that has none.
    """

    init: Callable[[int], Vector]
    apply: Callable[[Vector, Vector, Vector], tuple[Vector, Vector]]


def fedavg(*, learning_rate: float = 1.0) -> ServerOptimizer:
    """Add the mean delta (McMahan et al., AISTATS 2017)."""

    def init(_size: int) -> Vector:
        return np.zeros(0, np.float32)

    def apply(params: Vector, momentum: Vector, mean: Vector) -> tuple[Vector, Vector]:
        return params + np.float32(learning_rate) * mean, momentum

    return ServerOptimizer(init, apply)


def fedavgm(*, beta: float = 0.5, learning_rate: float = 1.0) -> ServerOptimizer:
    """Add a decaying sum of the mean deltas (Hsu et al. 2019, arXiv 1909.06335)."""

    def init(size: int) -> Vector:
        return np.zeros(size, np.float32)

    def apply(params: Vector, momentum: Vector, mean: Vector) -> tuple[Vector, Vector]:
        velocity = np.float32(beta) * momentum + mean
        return params + np.float32(learning_rate) * velocity, velocity

    return ServerOptimizer(init, apply)


def optimizer_named(name: str, *, beta: float, learning_rate: float) -> ServerOptimizer:
    """Return the optimizer the configuration names."""
    if name == "fedavg":
        return fedavg(learning_rate=learning_rate)
    return fedavgm(beta=beta, learning_rate=learning_rate)
