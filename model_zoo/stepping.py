"""Drive a runner through training steps: vectors in, vectors out.

One place knows how parameters, state and anchor map to a graph's named tensors.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from model_zoo.optimizers import SLOTS
from model_zoo.runners import Runner
from wire_protocol.manifest import Optimizer
from wire_protocol.selftest import Batch
from wire_protocol.step_inputs import step_inputs

Tensors = list[NDArray[Any]]


class Stepped(Protocol):
    """What of a model or manifest decides how a step is called."""

    @property
    def optimizer(self) -> Optimizer:
        """Of the training step."""

    @property
    def seeded(self) -> bool:
        """Whether the step takes a seed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Of every step: the rate, the momentum and the proximal weight.

    ``seed`` is given where the model draws something, see ``of``.
    """

    learning_rate: float
    momentum: float = 0.0
    mu: float = 0.0
    optimizer: Optimizer = "sgd"
    seed: int | None = None

    def of(self, model: Stepped) -> Self:
        """Return these settings with the optimizer and seed that ``model`` needs."""
        seed = (self.seed or 0) if model.seeded else None
        return replace(self, optimizer=model.optimizer, seed=seed)


@dataclass(frozen=True, slots=True)
class Outcome:
    """After the steps: the loss before each, parameters and optimizer state."""

    losses: tuple[float, ...]
    params: Tensors
    state: Tensors


def train(
    run: Runner, params: Tensors, *, batches: Iterable[Batch], settings: Settings
) -> Outcome:
    """Take a step for each batch, anchored at ``params``, from zero state."""
    anchor = named("a", params)
    slots = SLOTS[settings.optimizer]
    state = [np.zeros_like(tensor) for _ in slots for tensor in params]
    losses = []
    for number, batch in enumerate(batches):
        scalars = step_inputs(
            settings.optimizer,
            number=number,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            mu=settings.mu,
            seed=settings.seed,
        )
        tensors = {**named("p", params), **anchor}
        for place, slot in enumerate(slots):
            mine = state[place * len(params) : (place + 1) * len(params)]
            tensors.update(named(slot, mine))
        new = run("train", {**tensors, **_examples(batch), **scalars})
        losses.append(float(new["loss"]))
        params = [new[f"new_p{i:02}"] for i in range(len(params))]
        state = [new[f"new_{slot}{i:02}"] for slot in slots for i in range(len(params))]
    return Outcome(tuple(losses), params, state)


def evaluate(run: Runner, params: Tensors, *, batch: Batch) -> tuple[float, float]:
    """Return the weighted mean loss and metric of a batch."""
    sums = run("evaluate", {**named("p", params), **_examples(batch)})
    total = float(batch.w.sum())
    return float(sums["loss_sum"]) / total, float(sums["metric_sum"]) / total


def named(letter: str, tensors: Tensors) -> dict[str, NDArray[Any]]:
    """Name tensors as the graphs do: ``p00``, ``p01`` and so on."""
    return {f"{letter}{i:02}": tensor for i, tensor in enumerate(tensors)}


def _examples(batch: Batch) -> dict[str, NDArray[Any]]:
    given = {"x": batch.x, "w": batch.w}
    # a reconstruction has no targets, and its graphs no such input
    return {**given, "y": batch.y} if batch.y.size else given
