"""Depthwise convolution: every channel has a kernel of its own. Pure.

The gradient by the kernel is the backend's, each computes it in its own way. That by
the input is a depthwise convolution of the output's gradient, zeros put between its
pixels, with the kernel turned around.
"""

import math

import numpy as np

from model_zoo.backend import Backend, Pair, Shape, Tensor
from model_zoo.convolutions import bias_gradient, spans_over
from model_zoo.layers import Gradients, Layer, Pullback, Seed, require_rank
from model_zoo.windows import Padding, Span, fit
from wire_protocol.params import ParamSpec


def depthwise_conv2d(
    size: Pair, *, stride: int = 1, padding: Padding = "same"
) -> Layer:
    """``[N,H,W,C]`` to ``[N,H',W',C]``; kernel ``[h, w, C]``."""
    strides = (stride, stride)

    def output_shape(shape: Shape) -> Shape:
        require_rank("depthwise_conv2d", shape, rank=3)
        rows, columns = spans_over(shape, size, stride=strides, padding=padding)
        return (rows.count, columns.count, shape[-1])

    def specs(shape: Shape) -> tuple[ParamSpec, ...]:
        scale = math.sqrt(6 / math.prod(size))
        return (
            ParamSpec("kernel", (*size, shape[-1]), "uniform", scale),
            ParamSpec("bias", shape[-1:]),
        )

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del seed
        kernel, bias = params
        spans = spans_over(b.shape(x)[1:], size, stride=strides, padding=padding)
        fitted = fit(b, x, spans)
        y = b.depthwise_conv2d(fitted, kernel, strides=strides, dilations=(1, 1))

        def pullback(dy: Tensor) -> Gradients:
            dkernel = b.depthwise_by_kernel(fitted, dy, size=size, strides=strides)
            dx = _by_input(b, dy, kernel=kernel, spans=spans, strides=strides)
            return dx, (dkernel, bias_gradient(b, dy))

        return b.add(y, bias), pullback

    return Layer("depthwise_conv2d", output_shape, specs, apply)


def _by_input(
    b: Backend,
    dy: Tensor,
    *,
    kernel: Tensor,
    spans: tuple[Span, Span],
    strides: Pair,
) -> Tensor:
    height, width, channels = b.shape(kernel)
    places = height * width
    # As a product: reversing an image's two axes is silently wrong on tflite-runtime
    # 2.14. Each sum has one term that is not zero, so nothing is rounded.
    turned = b.matmul(
        b.constant(np.eye(places)[::-1]), b.reshape(kernel, (places, channels))
    )
    return b.depthwise_conv2d(
        _spaced(b, dy, _around((height, width), spans), strides=strides),
        b.reshape(turned, (height, width, channels)),
        strides=(1, 1),
        dilations=(1, 1),
    )


def _around(size: Pair, spans: tuple[Span, Span]) -> tuple[Pair, Pair]:
    """Return the zeros with which a window is turned at every pixel of the input.

    Those that ``fit`` put there get no gradient, and what it cut off gets zero.
    """
    rows, columns = (
        (side - 1 - span.before, side - 1 - span.after)
        for side, span in zip(size, spans, strict=True)
    )
    return rows, columns


def _spaced(
    b: Backend, dy: Tensor, around: tuple[Pair, Pair], *, strides: Pair
) -> Tensor:
    """Put ``stride - 1`` zeros between pixels, and zeros around all of them."""
    count, rows, columns, channels = b.shape(dy)
    down, right = strides
    if down > 1 or right > 1:
        dy = b.reshape(dy, (count * rows * columns, 1, 1, channels))
        dy = b.pad(dy, ((0, 0), (0, 0), (0, right - 1), (0, 0)))
        dy = b.reshape(dy, (count * rows, 1, columns * right, channels))
        dy = b.pad(dy, ((0, 0), (0, down - 1), (0, 0), (0, 0)))
        dy = b.reshape(dy, (count, rows * down, columns * right, channels))
        kept = ((rows - 1) * down + 1, (columns - 1) * right + 1)
        dy = b.crop(dy, (0, 0, 0, 0), size=(count, *kept, channels))
    return b.pad(dy, ((0, 0), *around, (0, 0)))
