"""The tensors of a train step, by their names in the artifact.

Parameters ``pNN``, optimizer state ``sNN`` (and ``vNN`` with Adam) and anchors ``aNN``
go in, ``new_pNN``, ``new_sNN`` and ``new_vNN`` come out and go in again. Pure.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from wire_protocol.manifest import Optimizer
from wire_protocol.params import ParamLayout, Vector
from wire_protocol.selftest import Batch
from wire_protocol.step_inputs import step_inputs


class Tensors:
    """What a train step takes and gives, without copies.

    Without ``targets`` the graphs take no ``y``; ``seeded`` ones take a ``seed``.
    """

    def __init__(
        self,
        layout: ParamLayout,
        *,
        optimizer: Optimizer = "sgd",
        seeded: bool = False,
        targets: bool = True,
    ) -> None:
        self._layout = layout
        self._optimizer: Optimizer = optimizer
        self._seeded = seeded
        self._targets = targets
        numbers = [f"{number:02}" for number in range(len(layout.specs))]
        slots = "sv" if optimizer == "adam" else "s"
        self._param_names = [f"p{number}" for number in numbers]
        self._state_names = [f"{slot}{number}" for slot in slots for number in numbers]
        self._anchor_names = [f"a{number}" for number in numbers]
        self._params: dict[str, Vector] = {}
        self._state: dict[str, Vector] = {}
        self.state_size = len(slots) * layout.size
        """Number of values in ``state``."""

    def begin(self, params: Vector) -> None:
        """Start from ``params``, shape ``[size]``, with zero state, anchored there."""
        tensors = self._layout.split(params)
        self._params = dict(zip(self._param_names, tensors, strict=True))
        self._state = dict(zip(self._anchor_names, tensors, strict=True))
        self._take_state(np.zeros(self.state_size, np.float32))

    def go_on(self, params: Vector, state: Vector) -> None:
        """Take up ``params`` and ``state`` ``[state_size]``; the anchor stays."""
        tensors = self._layout.split(params)
        self._params = dict(zip(self._param_names, tensors, strict=True))
        self._take_state(state)

    def train_inputs(
        self,
        batch: Batch,
        *,
        learning_rate: float,
        momentum: float,
        mu: float,
        number: int,
        seed: int,
    ) -> dict[str, Any]:
        """Return the inputs of ``train`` for step ``number``, from 0."""
        scalars = step_inputs(
            self._optimizer,
            number=number,
            learning_rate=learning_rate,
            momentum=momentum,
            mu=mu,
            seed=seed if self._seeded else None,
        )
        return {**self.evaluate_inputs(batch), **self._state, **scalars}

    def evaluate_inputs(self, batch: Batch) -> dict[str, Any]:
        """Return the inputs of ``evaluate``."""
        given: dict[str, Any] = {**self._params, "x": batch.x, "w": batch.w}
        if self._targets:
            given["y"] = batch.y
        return given

    def advance(self, outputs: Mapping[str, Vector]) -> None:
        """Take over the outputs of ``train``."""
        for name in self._param_names:
            self._params[name] = outputs[f"new_{name}"]
        for name in self._state_names:
            self._state[name] = outputs[f"new_{name}"]

    def params(self) -> Vector:
        """Return the parameters now, as a fresh vector of shape ``[size]``."""
        return self._layout.join(list(self._params.values()))

    def state(self) -> Vector:
        """Return the optimizer state now, fresh, of shape ``[state_size]``."""
        tensors = [self._state[name] for name in self._state_names]
        return np.concatenate([tensor.reshape(-1) for tensor in tensors])

    def _take_state(self, state: Vector) -> None:
        slots = np.split(state, self.state_size // self._layout.size)
        tensors = [tensor for slot in slots for tensor in self._layout.split(slot)]
        self._state.update(zip(self._state_names, tensors, strict=True))
