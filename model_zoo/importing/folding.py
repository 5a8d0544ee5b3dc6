"""Folding trained batch normalizations away. Pure.

At inference a batch normalization is ``x * scale + offset`` for each channel, with
numbers of its own: a convolution or dense layer right before it takes them up. On its
own it stays, as ``affine``. (Group norms replace it in training, see model_zoo.norms.)
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.importing.network import CannotError, Operation

_TAKE_UP: Final = frozenset(
    {"conv2d", "conv1d", "depthwise_conv2d", "dense", "group_norm", "layer_norm"}
)
"""Layers whose kernels, or scales, have the output's channels last."""


def batch_norm(
    *,
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    mean: NDArray[np.float32],
    variance: NDArray[np.float32],
    epsilon: float,
    source: str,
) -> Operation:
    """Return the ``affine`` that a trained batch normalization is."""
    spread = np.maximum(variance.astype(np.float64), 0) + epsilon
    if (spread <= 0).any():
        raise CannotError("its variance and epsilon are not above 0")
    scale = gamma.astype(np.float64) / np.sqrt(spread)
    offset = beta - mean * scale
    return Operation(
        "affine",
        weights=(scale.astype(np.float32), offset.astype(np.float32)),
        source=source,
    )


def folded(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Return the operations, every ``affine`` taken up by what is before it."""
    kept: list[Operation] = []
    for operation in operations:
        before = kept[-1] if kept else None
        if (
            before is not None
            and operation.kind == "affine"
            and not operation.frozen
            and before.kind in _TAKE_UP
        ):
            scale, offset = operation.weights
            kernel, bias = before.weights
            kept[-1] = replace(before, weights=(kernel * scale, bias * scale + offset))
        else:
            kept.append(replace(operation, inner=folded(operation.inner)))
    return tuple(kept)
