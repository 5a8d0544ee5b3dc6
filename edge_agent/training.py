"""Local training and judging: epochs of seeded, fixed-size batches over a trainer.

The order of examples depends on the plan's seed, the device and the round alone, so
that a round can be repeated. This module is pure but for what the trainer does.
"""

import hashlib
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.examples import Examples, shuffled
from edge_agent.trainers.trainer import Trainer
from wire_protocol.errors import TrainingError
from wire_protocol.messages import Evaluation, TrainingPlan
from wire_protocol.params import Vector
from wire_protocol.selftest import Batch
from wire_protocol.step_inputs import MAX_SEED

GREATEST_LOSS = 1e30
"""What the wire takes; beyond it nothing is being learned anyway."""


class CancelledTrainingError(TrainingError):
    """Training ended before its time because nobody wants its outcome any more."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """What training gave: parameters, mean loss of the last epoch, steps taken."""

    params: Vector
    loss: float
    steps: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Training after some whole epochs: all that the next one depends on.

    Attributes:
        epoch: Epochs that are done.
        steps: Taken in them.
        loss: Mean over the last of them.
        params: Shape ``[size]``.
        state: Of the local optimizer, shape ``[state_size]``.
    """

    epoch: int
    steps: int
    loss: float
    params: Vector
    state: Vector


def order_of_examples(plan: TrainingPlan, *, device: str, round_id: int) -> int:
    """Return the seed of the order in which ``device`` visits its examples."""
    text = f"{plan.seed}/{device}/{round_id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def train(
    trainer: Trainer,
    examples: Examples,
    *,
    base: Vector,
    plan: TrainingPlan,
    batch: int,
    seed: int,
    cancelled: Callable[[], bool] = lambda: False,
    checkpoint: Checkpoint | None = None,
    save: Callable[[Checkpoint], None] = lambda _: None,
) -> LocalModel:
    """Train from ``base`` for the plan's epochs.

    Going on from a checkpoint gives the same bits as if nothing had happened.

    Args:
        trainer: Runs the steps; its state is replaced.
        examples: The local training examples.
        base: Parameters to start from, shape ``[size]``.
        plan: Epochs, learning rate, momentum and mu.
        batch: Fixed batch size of the artifact.
        seed: Of the order of examples, a fresh one in every epoch, and of dropout.
        cancelled: Asked before every step.
        checkpoint: Where an earlier call with the same arguments was ended.
        save: Takes a checkpoint after every epoch but the last.

    Raises:
        TrainingError: A loss or a parameter is not finite, or the runtime failed.
        CancelledTrainingError: ``cancelled`` said so.
    """
    rng = random.Random(seed)  # noqa: S311 - an order, no secret
    trainer.begin(base)
    loss, steps, done = math.nan, 0, 0
    if checkpoint is not None:
        trainer.go_on(checkpoint.params, checkpoint.state)
        loss, steps, done = checkpoint.loss, checkpoint.steps, checkpoint.epoch
    for epoch in range(plan.epochs):
        order = shuffled(examples.count, rng)
        if epoch < done:
            continue  # only the order of later epochs depends on it
        loss = 0.0
        for part in _batches(examples, order, size=batch):
            if cancelled():
                raise CancelledTrainingError("training was cancelled")
            step_loss = trainer.step(
                part,
                learning_rate=plan.learning_rate,
                momentum=plan.momentum,
                mu=plan.mu,
                number=steps,
                seed=seed % MAX_SEED,
            )
            loss += step_loss * float(part.w.sum())
            steps += 1
        loss = _finite(loss / examples.count, what=f"the loss of epoch {epoch + 1}")
        if epoch + 1 < plan.epochs:
            save(Checkpoint(epoch + 1, steps, loss, trainer.params(), trainer.state()))
    params = trainer.params()
    if not np.isfinite(params).all():
        raise _diverged("a trained parameter is not finite")
    return LocalModel(params, loss, steps)


def evaluate(
    trainer: Trainer, examples: Examples, *, params: Vector, batch: int
) -> Evaluation:
    """Judge ``params`` on ``examples``, at least one.

    Raises:
        TrainingError: The loss is not finite, or the runtime failed.
    """
    trainer.begin(params)
    loss_sum = metric_sum = 0.0
    for part in _batches(examples, np.arange(examples.count), size=batch):
        sums = trainer.evaluate(part)
        loss_sum += sums[0]
        metric_sum += sums[1]
    return Evaluation(
        examples=examples.count,
        loss_sum=_finite(loss_sum, what="the loss on the hold-out"),
        metric_sum=_finite(metric_sum, what="the metric on the hold-out"),
    )


def _batches(
    examples: Examples, order: NDArray[np.intp], *, size: int
) -> Iterator[Batch]:
    """Yield batches in ``order``; one buffer serves all, padding has weight 0."""
    x = np.zeros((size, *examples.x.shape[1:]), np.float32)
    y = np.zeros((size, *examples.y.shape[1:]), examples.y.dtype)
    w = np.zeros(size, np.float32)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        x[: len(rows)] = examples.x[rows]
        y[: len(rows)] = examples.y[rows]
        w[:] = 0
        w[: len(rows)] = 1
        yield Batch(x, y, w)


def _finite(value: float, *, what: str) -> float:
    if not abs(value) <= GREATEST_LOSS:
        raise _diverged(f"{what} is {value}")
    return value


def _diverged(problem: str) -> TrainingError:
    return TrainingError(
        f"training diverged: {problem}",
        remedy="lower the plan's learning_rate on the server",
    )
