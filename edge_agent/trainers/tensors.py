"""The tensors of a train step, by their names in the artifact.

Parameters ``pNN``, velocities ``sNN`` and anchors ``aNN`` go in, ``new_pNN`` and
``new_sNN`` come out and go in again. This module is pure.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from wire_protocol.params import ParamLayout, Vector
from wire_protocol.selftest import Batch


class Tensors:
    """What a train step takes and gives, without copies."""

    def __init__(self, layout: ParamLayout) -> None:
        self._layout = layout
        numbers = [f"{number:02}" for number in range(len(layout.specs))]
        self._param_names = [f"p{number}" for number in numbers]
        self._velocity_names = [f"s{number}" for number in numbers]
        self._anchor_names = [f"a{number}" for number in numbers]
        self._params: dict[str, Vector] = {}
        self._state: dict[str, Vector] = {}

    def begin(self, params: Vector) -> None:
        """Start from ``params``, shape ``[size]``, with no velocity, anchored there."""
        tensors = self._layout.split(params)
        still = [np.zeros_like(tensor) for tensor in tensors]
        self._params = dict(zip(self._param_names, tensors, strict=True))
        self._state = dict(zip(self._anchor_names, tensors, strict=True))
        self._state.update(zip(self._velocity_names, still, strict=True))

    def go_on(self, params: Vector, velocity: Vector) -> None:
        """Take up ``params`` and ``velocity``, shape ``[size]``; the anchor stays."""
        tensors = self._layout.split(params), self._layout.split(velocity)
        self._params = dict(zip(self._param_names, tensors[0], strict=True))
        self._state.update(zip(self._velocity_names, tensors[1], strict=True))

    def train_inputs(
        self, batch: Batch, *, learning_rate: float, momentum: float, mu: float
    ) -> dict[str, Any]:
        """Return the inputs of ``train``."""
        return {
            **self.evaluate_inputs(batch),
            **self._state,
            "lr": np.asarray(learning_rate, np.float32),
            "momentum": np.asarray(momentum, np.float32),
            "mu": np.asarray(mu, np.float32),
        }

    def evaluate_inputs(self, batch: Batch) -> dict[str, Any]:
        """Return the inputs of ``evaluate``."""
        return {**self._params, "x": batch.x, "y": batch.y, "w": batch.w}

    def advance(self, outputs: Mapping[str, Vector]) -> None:
        """Take over the outputs of ``train``."""
        for name in self._param_names:
            self._params[name] = outputs[f"new_{name}"]
        for name in self._velocity_names:
            self._state[name] = outputs[f"new_{name}"]

    def params(self) -> Vector:
        """Return the parameters now, as a fresh vector of shape ``[size]``."""
        return self._layout.join(list(self._params.values()))

    def velocity(self) -> Vector:
        """Return the velocity now, as a fresh vector of shape ``[size]``."""
        return self._layout.join([self._state[name] for name in self._velocity_names])
