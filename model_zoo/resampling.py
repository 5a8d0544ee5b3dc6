"""Layers that enlarge: nearest neighbours, and transposed convolutions. Pure.

A transposed convolution is the adjoint of the convolution that would lead back: what is
a pullback there is forward here, and the other way round.
"""

import math

from model_zoo.backend import Backend, Pair, Shape, Tensor
from model_zoo.convolutions import bias_gradient, correlate, spans_over
from model_zoo.layers import Gradients, Layer, Pullback, Seed, no_params, require_rank
from model_zoo.windows import Padding, as_image, fit, repeated, unfit
from wire_protocol.params import ParamSpec


def upsample(size: int) -> Layer:
    """Repeat every pixel ``size`` times along each side, every sample of a signal."""

    def output_shape(shape: Shape) -> Shape:
        as_image(shape)
        return (*(side * size for side in shape[:-1]), shape[-1])

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del params, seed
        count, *shape = b.shape(x)
        window = (1 if len(shape) == 2 else size, size)
        image = b.reshape(x, (count, *as_image(tuple(shape))))
        y = repeated(b, image, window)

        def pullback(dy: Tensor) -> Gradients:
            mean = b.mean_pool(b.reshape(dy, b.shape(y)), window)
            dx = b.mul(mean, b.constant(math.prod(window)))
            return b.reshape(dx, (count, *shape)), ()

        return b.reshape(y, (count, *output_shape(tuple(shape)))), pullback

    return Layer("upsample", output_shape, no_params, apply)


def conv2d_transpose(
    outputs: int, size: Pair, *, stride: int = 1, padding: Padding = "same"
) -> Layer:
    """``[N,H,W,C]`` to ``[N,H',W',outputs]``; kernel ``[h, w, outputs, C]``.

    ``H'`` is ``H stride``, and ``max(h - stride, 0)`` more without padding.
    """
    strides = (stride, stride)

    def output_shape(shape: Shape) -> Shape:
        require_rank("conv2d_transpose", shape, rank=3)
        sides = _sides(shape[:2], size, strides=strides, padding=padding)
        return (*sides, outputs)

    def specs(shape: Shape) -> tuple[ParamSpec, ...]:
        return _kernel_and_bias(size, shape[-1], outputs=outputs, strides=strides)

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del seed
        return _transposed(b, x, params=params, strides=strides, padding=padding)

    return Layer("conv2d_transpose", output_shape, specs, apply)


def conv1d_transpose(
    outputs: int, size: int, *, stride: int = 1, padding: Padding = "same"
) -> Layer:
    """``[N,L,C]`` to ``[N,L',outputs]``; kernel ``[l, outputs, C]``."""
    flat, strides = (1, size), (1, stride)

    def output_shape(shape: Shape) -> Shape:
        require_rank("conv1d_transpose", shape, rank=2)
        _, side = _sides((1, shape[0]), flat, strides=strides, padding=padding)
        return (side, outputs)

    def specs(shape: Shape) -> tuple[ParamSpec, ...]:
        return _kernel_and_bias((size,), shape[-1], outputs=outputs, strides=(stride,))

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del seed
        kernel, bias = params
        count, length, channels = b.shape(x)
        y, pull = _transposed(
            b,
            b.reshape(x, (count, 1, length, channels)),
            params=(b.reshape(kernel, (1, *b.shape(kernel))), bias),
            strides=strides,
            padding=padding,
        )
        image = b.shape(y)

        def pullback(dy: Tensor) -> Gradients:
            dx, (dkernel, dbias) = pull(b.reshape(dy, image))
            dkernel = b.reshape(dkernel, b.shape(kernel))
            return b.reshape(dx, (count, length, channels)), (dkernel, dbias)

        return b.reshape(y, (count, *image[2:])), pullback

    return Layer("conv1d_transpose", output_shape, specs, apply)


def _transposed(
    b: Backend,
    x: Tensor,
    *,
    params: tuple[Tensor, ...],
    strides: Pair,
    padding: Padding,
) -> tuple[Tensor, Pullback]:
    kernel, bias = params
    height, width, _, _ = b.shape(kernel)
    size = (height, width)
    sides = _sides(b.shape(x)[1:3], size, strides=strides, padding=padding)
    spans = spans_over(sides, size, stride=strides, padding=padding)

    def pullback(dy: Tensor) -> Gradients:
        dx, pull = correlate(b, fit(b, dy, spans), kernel=kernel, strides=strides)
        _, dkernel = pull(x)
        return dx, (dkernel, bias_gradient(b, dy))

    y = unfit(b, b.conv2d_transpose(x, kernel, strides=strides), spans)
    return b.add(y, bias), pullback


def _sides(shape: Shape, size: Pair, *, strides: Pair, padding: Padding) -> Pair:
    """Return the sides of the output: as Keras has them."""
    high, wide = (
        side * step + (max(reach - step, 0) if padding == "valid" else 0)
        for side, reach, step in zip(shape, size, strides, strict=True)
    )
    return high, wide


def _kernel_and_bias(
    size: Shape, inputs: int, *, outputs: int, strides: Shape
) -> tuple[ParamSpec, ParamSpec]:
    # Every stride-th place of the kernel reaches an output.
    reach = max(math.prod(size) / math.prod(strides), 1.0)
    scale = math.sqrt(6 / (reach * inputs))
    return (
        ParamSpec("kernel", (*size, outputs, inputs), "uniform", scale),
        ParamSpec("bias", (outputs,)),
    )
