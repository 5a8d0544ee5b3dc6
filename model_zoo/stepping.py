"""Drive a runner through training steps: vectors in, vectors out.

One place knows how parameters, velocity and anchor map to a graph's named tensors.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.runners import Runner
from wire_protocol.selftest import Batch

Tensors = list[NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Settings:
    """Of every step: the rate, the momentum and the proximal weight."""

    learning_rate: float
    momentum: float = 0.0
    mu: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """After the steps: the loss before each, parameters and velocity."""

    losses: tuple[float, ...]
    params: Tensors
    state: Tensors


def train(
    run: Runner, params: Tensors, *, batches: Iterable[Batch], settings: Settings
) -> Outcome:
    """Take a step for each batch, anchored at ``params``, from zero velocity."""
    anchor = named("a", params)
    state = [np.zeros_like(tensor) for tensor in params]
    scalars = {
        "lr": np.asarray(settings.learning_rate, np.float32),
        "momentum": np.asarray(settings.momentum, np.float32),
        "mu": np.asarray(settings.mu, np.float32),
    }
    losses = []
    for batch in batches:
        tensors = {**named("p", params), **named("s", state), **anchor}
        new = run("train", {**tensors, **_examples(batch), **scalars})
        losses.append(float(new["loss"]))
        params = [new[f"new_p{i:02}"] for i in range(len(params))]
        state = [new[f"new_s{i:02}"] for i in range(len(params))]
    return Outcome(tuple(losses), params, state)


def evaluate(run: Runner, params: Tensors, *, batch: Batch) -> tuple[float, float]:
    """Return the weighted mean loss and accuracy of a batch."""
    sums = run("evaluate", {**named("p", params), **_examples(batch)})
    total = float(batch.w.sum())
    return float(sums["loss_sum"]) / total, float(sums["correct"]) / total


def named(letter: str, tensors: Tensors) -> dict[str, NDArray[Any]]:
    """Name tensors as the graphs do: ``p00``, ``p01`` and so on."""
    return {f"{letter}{i:02}": tensor for i, tensor in enumerate(tensors)}


def _examples(batch: Batch) -> dict[str, NDArray[Any]]:
    return {"x": batch.x, "y": batch.y, "w": batch.w}
