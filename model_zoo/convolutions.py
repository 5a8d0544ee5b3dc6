"""Convolutions over images and signals. Pure.

The gradient by the kernel is itself a convolution: channels as batch, batch as
channels, the output's gradient as kernel, the stride as dilation. The gradient by the
input is the transposed convolution. Both are builtin operators everywhere.
"""

import math
from collections.abc import Callable

from model_zoo.backend import Backend, Pair, Shape, Tensor
from model_zoo.layers import (
    Gradients,
    Layer,
    Pullback,
    Seed,
    kernel_and_bias,
    require_rank,
)
from model_zoo.windows import Padding, Span, fit, unfit
from wire_protocol.params import ParamSpec


def conv2d(
    outputs: int, size: Pair, *, stride: int = 1, padding: Padding = "same"
) -> Layer:
    """``[N,H,W,C]`` to ``[N,H',W',outputs]``; kernel ``[h, w, C, outputs]``."""

    def output_shape(shape: Shape) -> Shape:
        require_rank("conv2d", shape, rank=3)
        rows, columns = spans_over(
            shape, size, stride=(stride, stride), padding=padding
        )
        return (rows.count, columns.count, outputs)

    def specs(shape: Shape) -> tuple[ParamSpec, ...]:
        return kernel_and_bias((*size, shape[-1], outputs))

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del seed
        spans = spans_over(
            b.shape(x)[1:], size, stride=(stride, stride), padding=padding
        )
        y, pull = correlate(
            b, fit(b, x, spans), kernel=params[0], strides=(stride, stride)
        )

        def pullback(dy: Tensor) -> Gradients:
            dx, dkernel = pull(dy)
            return unfit(b, dx, spans), (dkernel, bias_gradient(b, dy))

        return b.add(y, params[1]), pullback

    return Layer("conv2d", output_shape, specs, apply)


def conv1d(
    outputs: int, size: int, *, stride: int = 1, padding: Padding = "same"
) -> Layer:
    """``[N,L,C]`` to ``[N,L',outputs]``; kernel ``[l, C, outputs]``."""

    def output_shape(shape: Shape) -> Shape:
        require_rank("conv1d", shape, rank=2)
        _, span = spans_over(
            (1, *shape), (1, size), stride=(1, stride), padding=padding
        )
        return (span.count, outputs)

    def specs(shape: Shape) -> tuple[ParamSpec, ...]:
        return kernel_and_bias((size, shape[-1], outputs))

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del seed
        count, length, channels = b.shape(x)
        image = b.reshape(x, (count, 1, length, channels))
        spans = spans_over(
            (1, length, channels), (1, size), stride=(1, stride), padding=padding
        )
        kernel = b.reshape(params[0], (1, size, channels, outputs))
        y, pull = correlate(b, fit(b, image, spans), kernel=kernel, strides=(1, stride))
        y_shape = b.shape(y)

        def pullback(dy: Tensor) -> Gradients:
            dx, dkernel = pull(b.reshape(dy, y_shape))
            dx = b.reshape(unfit(b, dx, spans), (count, length, channels))
            dkernel = b.reshape(dkernel, (size, channels, outputs))
            return dx, (dkernel, bias_gradient(b, dy))

        flat = b.reshape(y, (count, y_shape[2], outputs))
        return b.add(flat, params[1]), pullback

    return Layer("conv1d", output_shape, specs, apply)


def spans_over(
    shape: Shape, size: Pair, *, stride: Pair, padding: Padding
) -> tuple[Span, Span]:
    """Place windows along both sides of an image ``[H, W, ...]``."""
    rows, columns = (
        Span.over(length, window=window, stride=step, padding=padding)
        for length, window, step in zip(shape[:2], size, stride, strict=True)
    )
    return rows, columns


def correlate(
    b: Backend, x: Tensor, *, kernel: Tensor, strides: Pair
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """Correlate with windows that cover ``x`` exactly; the pullback gives both."""
    size = b.shape(kernel)
    if (*size[:2], *strides) == (1, 1, 1, 1):
        return _across(b, x, kernel=kernel)

    def pull(dy: Tensor) -> tuple[Tensor, Tensor]:
        dkernel = b.conv2d(
            b.transpose(x, (3, 1, 2, 0)),
            b.transpose(dy, (1, 2, 0, 3)),
            strides=(1, 1),
            dilations=strides,
        )
        dx = b.conv2d_transpose(dy, kernel, strides=strides)
        return dx, b.transpose(dkernel, (1, 2, 0, 3))

    y = b.conv2d(x, kernel, strides=strides, dilations=(1, 1))
    assert b.shape(y)[-1] == size[-1]
    return y, pull


def _across(
    b: Backend, x: Tensor, *, kernel: Tensor
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """Correlate with a window of one pixel: a product, two to four times faster."""
    *outer, channels = b.shape(x)
    rows, matrix = (math.prod(outer), channels), b.shape(kernel)[2:]
    flat, weights = b.reshape(x, rows), b.reshape(kernel, matrix)

    def pull(dy: Tensor) -> tuple[Tensor, Tensor]:
        given = b.reshape(dy, (rows[0], matrix[1]))
        dkernel = b.matmul(flat, given, flip_a=True)
        dx = b.matmul(given, weights, flip_b=True)
        return b.reshape(dx, b.shape(x)), b.reshape(dkernel, b.shape(kernel))

    return b.reshape(b.matmul(flat, weights), (*outer, matrix[1])), pull


def bias_gradient(b: Backend, dy: Tensor) -> Tensor:
    """Return the gradient by a bias of the last axis."""
    shape = b.shape(dy)
    return b.sum(b.reshape(dy, (math.prod(shape[:-1]), shape[-1])), 0)
