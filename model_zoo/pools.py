"""Pools over images and signals: windows side by side, and the global mean. Pure."""

import math

from model_zoo.backend import Backend, Pair, Shape, Tensor
from model_zoo.layers import Gradients, Layer, Pullback, Seed, no_params
from model_zoo.windows import Span, as_image, fit, repeated, unfit


def max_pool(size: int) -> Layer:
    """Keep the greatest of each window; equal ones share the gradient."""

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del params, seed
        shape, (window, spans) = b.shape(x), _windows(b.shape(x)[1:], size)
        fitted = fit(b, _image(b, x), spans)
        y = b.max_pool(fitted, window)

        def pullback(dy: Tensor) -> Gradients:
            mask = b.equal(fitted, repeated(b, y, window))
            ties = b.mul(b.mean_pool(mask, window), b.constant(math.prod(window)))
            share = repeated(b, b.div(b.reshape(dy, b.shape(y)), ties), window)
            dx = unfit(b, b.mul(mask, share), spans)
            return b.reshape(dx, shape), ()

        return b.reshape(y, (shape[0], *_output_shape(shape[1:], size))), pullback

    return Layer("max_pool", lambda s: _output_shape(s, size), no_params, apply)


def average_pool(size: int) -> Layer:
    """Average each window."""

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del params, seed
        shape, (window, spans) = b.shape(x), _windows(b.shape(x)[1:], size)
        y = b.mean_pool(fit(b, _image(b, x), spans), window)

        def pullback(dy: Tensor) -> Gradients:
            share = b.mul(dy, b.constant(1 / math.prod(window)))
            spread = repeated(b, b.reshape(share, b.shape(y)), window)
            return b.reshape(unfit(b, spread, spans), shape), ()

        return b.reshape(y, (shape[0], *_output_shape(shape[1:], size))), pullback

    return Layer("average_pool", lambda s: _output_shape(s, size), no_params, apply)


def global_average_pool() -> Layer:
    """Average over everything but the channels: ``[N, ..., C]`` to ``[N, C]``."""

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del params, seed
        shape = b.shape(x)
        count, channels, places = shape[0], shape[-1], math.prod(shape[1:-1])
        y = b.mean(b.reshape(x, (count, places, channels)), 1)

        def pullback(dy: Tensor) -> Gradients:
            share = b.mul(dy, b.constant(1 / places))
            spread = b.tile(b.reshape(share, (count, 1, channels)), (1, places, 1))
            return b.reshape(spread, shape), ()

        return y, pullback

    return Layer("global_average_pool", lambda s: s[-1:], no_params, apply)


def _windows(shape: Shape, size: int) -> tuple[Pair, tuple[Span, Span]]:
    rows, columns, _ = as_image(shape)
    down = 1 if len(shape) == 2 else size
    return (down, size), (
        Span.over(rows, window=down, stride=down, padding="valid"),
        Span.over(columns, window=size, stride=size, padding="valid"),
    )


def _output_shape(shape: Shape, size: int) -> Shape:
    _, (rows, columns) = _windows(shape, size)
    if len(shape) == 2:
        return (columns.count, shape[-1])
    return (rows.count, columns.count, shape[-1])


def _image(b: Backend, x: Tensor) -> Tensor:
    count, *rest = b.shape(x)
    return b.reshape(x, (count, *as_image(tuple(rest))))
