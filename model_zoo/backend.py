"""The backend: the few primitives every layer is written in.

A layer is written once, forward and backward, over these; three backends give it
meaning: ``numpy_backend`` computes (the oracle), ``tflite_backend`` and
``onnx_backend`` emit graphs. All shapes are static, images are NHWC, kernels HWIO, and
no tensor has more than four dimensions: more of them abort some TFLite runtimes.
This module is pure.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Tensor = Any
"""A backend's own value: an array, or a node of the graph being emitted."""

Shape = tuple[int, ...]
Pair = tuple[int, int]
"""Two sizes: along the height and along the width of an image."""


class Backend(Protocol):
    """Float primitives over tensors of static shape."""

    def constant(self, value: float | NDArray[np.floating[Any]]) -> Tensor:
        """Embed a constant, in the backend's float type."""

    def shape(self, a: Tensor) -> Shape:
        """Return the static shape."""

    def reshape(self, a: Tensor, shape: Shape) -> Tensor:
        """Give ``a`` a shape of equal size, in C order."""

    def transpose(self, a: Tensor, order: Shape) -> Tensor:
        """Permute the dimensions."""

    def pad(self, a: Tensor, widths: tuple[Pair, ...]) -> Tensor:
        """Add zeros before and after, along every dimension."""

    def crop(self, a: Tensor, begin: Shape, *, size: Shape) -> Tensor:
        """Take the box that starts at ``begin``."""

    def tile(self, a: Tensor, times: Shape) -> Tensor:
        """Repeat ``a`` as a whole, along every dimension."""

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Put tensors one after the other along a dimension."""

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """Compute ``a + b``; this and the next six broadcast."""

    def sub(self, a: Tensor, b: Tensor) -> Tensor:
        """Compute ``a - b``."""

    def mul(self, a: Tensor, b: Tensor) -> Tensor:
        """Compute ``a * b``."""

    def div(self, a: Tensor, b: Tensor) -> Tensor:
        """Compute ``a / b``."""

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        """Compute the greater one, element by element."""

    def minimum(self, a: Tensor, b: Tensor) -> Tensor:
        """Compute the lesser one, element by element."""

    def equal(self, a: Tensor, b: Tensor) -> Tensor:
        """Return 1.0 where they are equal, else 0.0."""

    def exp(self, a: Tensor) -> Tensor:
        """Compute the exponential."""

    def log(self, a: Tensor) -> Tensor:
        """Compute the natural logarithm."""

    def sqrt(self, a: Tensor) -> Tensor:
        """Compute the square root."""

    def floor(self, a: Tensor) -> Tensor:
        """Compute the greatest whole number that is not above."""

    def tanh(self, a: Tensor) -> Tensor:
        """Compute the hyperbolic tangent."""

    def sigmoid(self, a: Tensor) -> Tensor:
        """Compute ``1 / (1 + exp(-a))``."""

    def as_float(self, a: Tensor) -> Tensor:
        """Turn int32 into the backend's float type."""

    def relu(self, a: Tensor) -> Tensor:
        """Compute ``max(a, 0)``."""

    def relu_mask(self, y: Tensor) -> Tensor:
        """Return 1.0 where the output ``y`` of a relu is positive, else 0.0."""

    def sum(self, a: Tensor, axis: int) -> Tensor:
        """Sum along one dimension and drop it."""

    def mean(self, a: Tensor, axis: int) -> Tensor:
        """Average along one dimension and drop it."""

    def max(self, a: Tensor, axis: int) -> Tensor:
        """Return the greatest along one dimension and drop it."""

    def matmul(
        self, a: Tensor, b: Tensor, *, flip_a: bool = False, flip_b: bool = False
    ) -> Tensor:
        """Multiply two matrices, each transposed first when flipped."""

    def conv2d(
        self, x: Tensor, kernel: Tensor, *, strides: Pair, dilations: Pair
    ) -> Tensor:
        """Correlate ``x[N,H,W,C]`` with ``kernel[h,w,C,O]``, without padding."""

    def conv2d_transpose(self, dy: Tensor, kernel: Tensor, *, strides: Pair) -> Tensor:
        """Apply the adjoint of ``conv2d``: ``dy[N,h,w,O]`` to the smallest input."""

    def depthwise_conv2d(
        self, x: Tensor, kernel: Tensor, *, strides: Pair, dilations: Pair
    ) -> Tensor:
        """Correlate each channel of ``x[N,H,W,C]`` with its own ``kernel[h,w,C]``."""

    def depthwise_by_kernel(
        self, x: Tensor, dy: Tensor, *, size: Pair, strides: Pair
    ) -> Tensor:
        """Return the gradient by the kernel ``[h,w,C]`` of ``depthwise_conv2d``.

        ``dy`` is that by its output; windows cover ``x[N,H,W,C]`` exactly.
        """

    def max_pool(self, x: Tensor, window: Pair) -> Tensor:
        """Return the greatest of every window; windows tile ``x[N,H,W,C]``."""

    def mean_pool(self, x: Tensor, window: Pair) -> Tensor:
        """Average every window; windows tile ``x[N,H,W,C]``."""

    def one_hot(self, labels: Tensor, classes: int) -> Tensor:
        """Turn int32 ``labels[N]`` into ``[N, classes]``."""

    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return 1.0 where the greatest logit (first of equals) is the label."""
