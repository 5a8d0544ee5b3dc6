"""The numpy backend: computes at once, in float64 or float32. The oracle.

Written for clarity, not speed; everything else is compared with it. Pure.
"""
# ruff: noqa: D102 - ``Backend`` documents the methods, once.

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike, NDArray

from model_zoo.backend import Pair, Shape

Array = NDArray[Any]


class NumpyBackend:
    """Implements ``Backend`` over arrays of one float type."""

    def __init__(self, dtype: DTypeLike = np.float64) -> None:
        self.dtype = np.dtype(dtype)

    def constant(self, value: float | NDArray[np.floating[Any]]) -> Array:
        return np.asarray(value, self.dtype)

    def shape(self, a: Array) -> Shape:
        return a.shape

    def reshape(self, a: Array, shape: Shape) -> Array:
        return a.reshape(shape)

    def transpose(self, a: Array, order: Shape) -> Array:
        return a.transpose(order)

    def pad(self, a: Array, widths: tuple[Pair, ...]) -> Array:
        return np.pad(a, widths)

    def crop(self, a: Array, begin: Shape, *, size: Shape) -> Array:
        box = zip(begin, size, strict=True)
        return a[tuple(slice(first, first + count) for first, count in box)]

    def tile(self, a: Array, times: Shape) -> Array:
        return np.tile(a, times)

    def concat(self, parts: Sequence[Array], axis: int) -> Array:
        return np.concatenate(parts, axis)

    def add(self, a: Array, b: Array) -> Array:
        return np.add(a, b)

    def sub(self, a: Array, b: Array) -> Array:
        return np.subtract(a, b)

    def mul(self, a: Array, b: Array) -> Array:
        return np.multiply(a, b)

    def div(self, a: Array, b: Array) -> Array:
        return np.divide(a, b)

    def maximum(self, a: Array, b: Array) -> Array:
        return np.maximum(a, b)

    def minimum(self, a: Array, b: Array) -> Array:
        return np.minimum(a, b)

    def equal(self, a: Array, b: Array) -> Array:
        return np.equal(a, b).astype(self.dtype)

    def exp(self, a: Array) -> Array:
        return np.exp(a)

    def log(self, a: Array) -> Array:
        return np.log(a)

    def sqrt(self, a: Array) -> Array:
        return np.sqrt(a)

    def floor(self, a: Array) -> Array:
        return np.floor(a)

    def tanh(self, a: Array) -> Array:
        return np.tanh(a)

    def sigmoid(self, a: Array) -> Array:
        return (1 + np.tanh(a / 2)) / 2  # no exponential that could overflow

    def as_float(self, a: Array) -> Array:
        return np.asarray(a, self.dtype)

    def relu(self, a: Array) -> Array:
        return np.maximum(a, 0)

    def relu_mask(self, y: Array) -> Array:
        return (y > 0).astype(self.dtype)

    def sum(self, a: Array, axis: int) -> Array:
        return np.asarray(a.sum(axis))

    def mean(self, a: Array, axis: int) -> Array:
        return np.asarray(a.mean(axis))

    def max(self, a: Array, axis: int) -> Array:
        return np.asarray(a.max(axis))

    def matmul(
        self, a: Array, b: Array, *, flip_a: bool = False, flip_b: bool = False
    ) -> Array:
        product: Array = np.matmul(a.T if flip_a else a, b.T if flip_b else b)
        return product

    def conv2d(
        self, x: Array, kernel: Array, *, strides: Pair, dilations: Pair
    ) -> Array:
        taps = _taps(x, kernel.shape[:2], strides=strides, dilations=dilations)
        y: Array = np.tensordot(taps, kernel, axes=((4, 5, 3), (0, 1, 2)))
        return y

    def conv2d_transpose(self, dy: Array, kernel: Array, *, strides: Pair) -> Array:
        count, rows, columns, _ = dy.shape
        height, width, channels, _ = kernel.shape
        down, right = (rows - 1) * strides[0] + 1, (columns - 1) * strides[1] + 1
        dx = np.zeros(
            (count, down + height - 1, right + width - 1, channels), self.dtype
        )
        for i in range(height):
            for j in range(width):
                reached = dx[:, i : i + down : strides[0], j : j + right : strides[1]]
                reached += dy @ kernel[i, j].T
        return dx

    def depthwise_conv2d(
        self, x: Array, kernel: Array, *, strides: Pair, dilations: Pair
    ) -> Array:
        taps = _taps(x, kernel.shape[:2], strides=strides, dilations=dilations)
        y: Array = np.einsum("nhwcij,ijc->nhwc", taps, kernel)
        return y

    def depthwise_by_kernel(
        self, x: Array, dy: Array, *, size: Pair, strides: Pair
    ) -> Array:
        taps = _taps(x, size, strides=strides, dilations=(1, 1))
        kernel: Array = np.einsum("nhwcij,nhwc->ijc", taps, dy)
        return kernel

    def max_pool(self, x: Array, window: Pair) -> Array:
        return np.asarray(_windows(x, window).max((2, 4)))

    def mean_pool(self, x: Array, window: Pair) -> Array:
        return np.asarray(_windows(x, window).mean((2, 4)))

    def one_hot(self, labels: Array, classes: int) -> Array:
        return np.eye(classes, dtype=self.dtype)[labels]

    def hits(self, logits: Array, labels: Array) -> Array:
        hits: Array = np.equal(logits.argmax(1), labels)
        return hits.astype(self.dtype)


def _windows(x: Array, window: Pair) -> Array:
    count, rows, columns, channels = x.shape
    down, right = window
    return x.reshape(count, rows // down, down, columns // right, right, channels)


def _taps(x: Array, size: Shape, *, strides: Pair, dilations: Pair) -> Array:
    """Return what each place of a kernel sees: ``[N, H', W', C, h, w]``."""
    reach = tuple(
        (side - 1) * step + 1 for side, step in zip(size, dilations, strict=True)
    )
    windows = sliding_window_view(x, reach, axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[1]]
    return windows[..., :: dilations[0], :: dilations[1]]
