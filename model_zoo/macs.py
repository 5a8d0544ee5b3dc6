"""Multiply-accumulates of a model, counted by running its definition once. Pure.

What counts is what sums products: matrix products and convolutions, whichever layer
asks for them. Additions, scalings, pools and activations do not count, as usual.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.backend import Pair
from model_zoo.model import Model
from model_zoo.numpy_backend import NumpyBackend

_Array = NDArray[Any]


class _Counting(NumpyBackend):
    """The oracle, with a tally."""

    def __init__(self) -> None:
        super().__init__(np.float32)
        self.macs = 0

    def matmul(
        self, a: _Array, b: _Array, *, flip_a: bool = False, flip_b: bool = False
    ) -> _Array:
        y: _Array = super().matmul(a, b, flip_a=flip_a, flip_b=flip_b)
        self.macs += y.size * (a.shape[-2] if flip_a else a.shape[-1])
        return y

    def conv2d(
        self, x: _Array, kernel: _Array, *, strides: Pair, dilations: Pair
    ) -> _Array:
        y: _Array = super().conv2d(x, kernel, strides=strides, dilations=dilations)
        self.macs += y.size * math.prod(kernel.shape[:3])
        return y

    def depthwise_conv2d(
        self, x: _Array, kernel: _Array, *, strides: Pair, dilations: Pair
    ) -> _Array:
        y: _Array = super().depthwise_conv2d(
            x, kernel, strides=strides, dilations=dilations
        )
        self.macs += y.size * math.prod(kernel.shape[:2])
        return y

    def conv2d_transpose(self, dy: _Array, kernel: _Array, *, strides: Pair) -> _Array:
        x: _Array = super().conv2d_transpose(dy, kernel, strides=strides)
        self.macs += dy.size * math.prod(kernel.shape[:3])
        return x


def forward_macs(model: Model) -> int:
    """Return the multiply-accumulates of one example's way through ``model``."""
    counting = _Counting()
    params = [np.zeros(spec.shape, np.float32) for spec in model.layout.specs]
    model.apply(counting, np.zeros((1, *model.input_shape), np.float32), params=params)
    return counting.macs
