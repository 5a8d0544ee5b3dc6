"""What a model is trained for: a loss and a metric for each task. Pure.

The mean is ``sum(w * loss) / max(sum(w), tiny)``: rows of weight 0 are padding, and a
partly filled batch counts exactly as much as its real rows do.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from model_zoo.backend import Backend, Tensor
from wire_protocol.manifest import Task

TINY: Final = 1e-6
"""Least divisor: a batch of padding alone has loss 0 and no gradient."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Targets ``y`` (what they are is the task's) and weights ``w[N]`` of a batch."""

    y: Tensor
    w: Tensor


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a model: functions of outputs and targets, for each example.

    Attributes:
        losses: Losses ``[N]``, and their gradients by the outputs, as those' shape.
        metrics: What people are told, ``[N]``: right answers, or absolute errors.
    """

    losses: Callable[[Backend, Tensor, Tensor], tuple[Tensor, Tensor]]
    metrics: Callable[[Backend, Tensor, Tensor], Tensor]


def head_of(task: Task, *, softness: float = 0.0) -> Head:
    """Return the head of a task.

    Args:
        task: What is learned.
        softness: Regression only. Above 0, an error well above it counts by its size
            and one below by its square, in the target's unit (pseudo-Huber): a model
            tells medians rather than means, so rare great values move it less.
    """
    head = HEADS[task]
    if not softness:
        return head
    return replace(head, losses=functools.partial(_soft_errors, softness=softness))


def mean_loss(
    b: Backend, outputs: Tensor, *, batch: Labelled, head: Head
) -> tuple[Tensor, Tensor]:
    """Return the weighted mean loss, shape ``[]``, and its gradient by the outputs."""
    losses, gradient = head.losses(b, outputs, batch.y)
    total = b.maximum(b.sum(batch.w, 0), b.constant(TINY))
    loss = b.div(b.sum(b.mul(losses, batch.w), 0), total)
    share = b.reshape(b.div(batch.w, total), (b.shape(outputs)[0], 1))
    flat = b.reshape(gradient, _rows(b, outputs))
    return loss, b.reshape(b.mul(flat, share), b.shape(outputs))


def judge(
    b: Backend, outputs: Tensor, *, batch: Labelled, head: Head
) -> tuple[Tensor, Tensor]:
    """Return weighted sums of losses and of the task's metric, both shape ``[]``."""
    losses, _ = head.losses(b, outputs, batch.y)
    metrics = head.metrics(b, outputs, batch.y)
    return b.sum(b.mul(losses, batch.w), 0), b.sum(b.mul(metrics, batch.w), 0)


def squared_errors(
    b: Backend, outputs: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return squared errors ``[N]``, means over an example, and their gradients."""
    rows = _rows(b, outputs)
    error = b.sub(b.reshape(outputs, rows), b.reshape(targets, rows))
    gradient = b.mul(error, b.constant(2 / rows[1]))
    return b.mean(b.mul(error, error), 1), b.reshape(gradient, b.shape(outputs))


def _soft_errors(
    b: Backend, outputs: Tensor, targets: Tensor, *, softness: float
) -> tuple[Tensor, Tensor]:
    """Return means over an example of ``sqrt(e^2 + s^2) - s``, and their gradients."""
    rows = _rows(b, outputs)
    error = b.sub(b.reshape(outputs, rows), b.reshape(targets, rows))
    size = b.sqrt(b.add(b.mul(error, error), b.constant(softness**2)))
    losses = b.mean(b.sub(size, b.constant(softness)), 1)
    gradient = b.mul(b.div(error, size), b.constant(1 / rows[1]))
    return losses, b.reshape(gradient, b.shape(outputs))


def _absolute_errors(b: Backend, outputs: Tensor, targets: Tensor) -> Tensor:
    rows = _rows(b, outputs)
    error = b.sub(b.reshape(outputs, rows), b.reshape(targets, rows))
    return b.mean(b.maximum(error, b.sub(b.constant(0.0), error)), 1)


def _cross_entropy(b: Backend, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return losses ``[N]``, and ``softmax - one_hot`` of shape ``[N, classes]``."""
    count, classes = b.shape(logits)
    greatest = b.reshape(b.max(logits, 1), (count, 1))
    shifted = b.sub(logits, greatest)
    exps = b.exp(shifted)
    total = b.sum(exps, 1)
    truth = b.one_hot(labels, classes)
    losses = b.sub(b.log(total), b.sum(b.mul(truth, shifted), 1))
    softmax = b.div(exps, b.reshape(total, (count, 1)))
    return losses, b.sub(softmax, truth)


def _binary_cross_entropy(
    b: Backend, logits: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return means over the outputs of ``max(z, 0) - z t + log(1 + exp(-|z|))``.

    In this form no logit overflows.
    """
    one = b.constant(1.0)
    positive = b.relu(logits)
    faded = b.exp(b.sub(logits, b.add(positive, positive)))  # exp(-|z|)
    soft = b.log(b.add(one, faded))
    losses = b.add(b.sub(positive, b.mul(logits, targets)), soft)
    likely = b.div(one, b.add(one, faded))  # sigmoid(|z|)
    mask = b.relu_mask(positive)
    unlikely = b.sub(one, likely)
    sigmoid = b.add(b.mul(mask, likely), b.mul(b.sub(one, mask), unlikely))
    share = b.constant(1 / math.prod(b.shape(logits)[1:]))
    return b.mean(losses, 1), b.mul(b.sub(sigmoid, targets), share)


def _right_bits(b: Backend, logits: Tensor, targets: Tensor) -> Tensor:
    said = b.relu_mask(b.relu(logits))
    true = b.relu_mask(b.relu(b.sub(targets, b.constant(0.5))))
    return b.mean(b.equal(said, true), 1)


def _hits(b: Backend, logits: Tensor, labels: Tensor) -> Tensor:
    return b.hits(logits, labels)


def _rows(b: Backend, a: Tensor) -> tuple[int, int]:
    count, *rest = b.shape(a)
    return count, math.prod(rest)


HEADS: Final[Mapping[Task, Head]] = {
    "classification": Head(_cross_entropy, _hits),
    "regression": Head(squared_errors, _absolute_errors),
    "binary": Head(_binary_cross_entropy, _right_bits),
    "reconstruction": Head(squared_errors, _absolute_errors),
}
"""How each task is judged."""
