"""Softmax cross-entropy with a weight for each example. Pure.

The mean is ``sum(w * loss) / max(sum(w), tiny)``: rows of weight 0 are padding, and a
partly filled batch counts exactly as much as its real rows do.
"""

from dataclasses import dataclass
from typing import Final

from model_zoo.backend import Backend, Tensor

TINY: Final = 1e-6
"""Least divisor: a batch of padding alone has loss 0 and no gradient."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labels ``y[N]`` int32 and weights ``w[N]`` of a batch."""

    y: Tensor
    w: Tensor


def mean_loss(b: Backend, logits: Tensor, *, batch: Labelled) -> tuple[Tensor, Tensor]:
    """Return the weighted mean loss, shape ``[]``, and its gradient by the logits."""
    losses, difference = _cross_entropy(b, logits, labels=batch.y)
    total = b.maximum(b.sum(batch.w, 0), b.constant(TINY))
    loss = b.div(b.sum(b.mul(losses, batch.w), 0), total)
    share = b.reshape(b.div(batch.w, total), (b.shape(logits)[0], 1))
    return loss, b.mul(difference, share)


def judge(b: Backend, logits: Tensor, *, batch: Labelled) -> tuple[Tensor, Tensor]:
    """Return the weighted sums of losses and of right answers, both shape ``[]``."""
    losses, _ = _cross_entropy(b, logits, labels=batch.y)
    hits = b.hits(logits, batch.y)
    return b.sum(b.mul(losses, batch.w), 0), b.sum(b.mul(hits, batch.w), 0)


def _cross_entropy(
    b: Backend, logits: Tensor, *, labels: Tensor
) -> tuple[Tensor, Tensor]:
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
