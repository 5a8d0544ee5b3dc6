"""Layers: each written once over the backend, forward and backward by hand.

A layer is a record of functions. ``apply`` returns the output and its pullback, which
takes the gradient of the loss by the output and returns those by the input and by the
parameters. No automatic differentiation: its graphs do not convert (docs/adr/0005).
Shapes of layers leave the batch out. This module is pure.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from model_zoo.backend import Backend, Shape, Tensor
from wire_protocol.errors import ConfigError
from wire_protocol.params import ParamSpec

Gradients = tuple[Tensor, tuple[Tensor, ...]]
"""By the input, and by each parameter."""

Pullback = Callable[[Tensor], Gradients]


@dataclass(frozen=True, slots=True)
class Draw:
    """What decides what a layer draws in a training step.

    Attributes:
        seed: Of the step, an int32 scalar tensor.
        place: Where in the model the layer is: no two layers draw alike.
    """

    seed: Tensor
    place: tuple[int, ...] = ()

    def of(self, number: int) -> "Draw":
        """Return that of an inner layer."""
        return replace(self, place=(*self.place, number))


Seed = Draw | None
"""None where nothing is drawn: outside of training steps."""


class Apply(Protocol):
    """Run a layer forward."""

    def __call__(
        self, b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        """Return the output and the pullback."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer.

    Attributes:
        kind: Name of the layer's kind, part of its parameters' names.
        output_shape: Shape of the output for that of the input, or ``ConfigError``.
        specs: Parameters for the shape of the input, with short names.
        apply: Forward, with its pullback.
        seeded: Whether it draws something in a training step.
    """

    kind: str
    output_shape: Callable[[Shape], Shape]
    specs: Callable[[Shape], tuple[ParamSpec, ...]]
    apply: Apply
    seeded: bool = False


def no_params(_shape: Shape) -> tuple[ParamSpec, ...]:
    """Return the parameters of a layer without any."""
    return ()


def kernel_and_bias(kernel: Shape) -> tuple[ParamSpec, ParamSpec]:
    """Return a kernel ``[..., in, out]``, drawn as He et al. (2015), and a bias."""
    scale = math.sqrt(6 / math.prod(kernel[:-1]))
    return (
        ParamSpec("kernel", kernel, "uniform", scale),
        ParamSpec("bias", kernel[-1:]),
    )


def scale_and_offset(shape: Shape) -> tuple[ParamSpec, ParamSpec]:
    """Return a scale and an offset for each channel, the last axis."""
    return ParamSpec("scale", shape[-1:], "ones"), ParamSpec("offset", shape[-1:])


def require_rank(kind: str, shape: Shape, *, rank: int) -> None:
    """Raise ``ConfigError`` unless an input has ``rank`` dimensions."""
    if len(shape) != rank:
        raise ConfigError(
            f"{kind} takes an input of {rank} dimensions, not {shape}",
            remedy="change the layer before it",
        )


def frozen(layer: Layer) -> Layer:
    """Keep the layer's parameters as they are through every step."""

    def specs(shape: Shape) -> tuple[ParamSpec, ...]:
        return tuple(replace(spec, trainable=False) for spec in layer.specs(shape))

    return replace(layer, specs=specs)


def personal(layer: Layer) -> Layer:
    """Train the layer on the device and keep it there: it is never sent.

    A personal last layer is FedPer (Arivazhagan et al. 2019, arXiv 1912.00818);
    personal norms are what FedBN does (Li et al., ICLR 2021).
    """

    def specs(shape: Shape) -> tuple[ParamSpec, ...]:
        return tuple(replace(spec, personal=True) for spec in layer.specs(shape))

    return replace(layer, specs=specs)


def dense(outputs: int) -> Layer:
    """``y[N, outputs] = x[N, in] @ kernel + bias``."""

    def output_shape(shape: Shape) -> Shape:
        require_rank("dense", shape, rank=1)
        return (outputs,)

    def specs(shape: Shape) -> tuple[ParamSpec, ...]:
        return kernel_and_bias((*shape, outputs))

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del seed
        kernel, bias = params

        def pullback(dy: Tensor) -> Gradients:
            dx = b.matmul(dy, kernel, flip_b=True)
            return dx, (b.matmul(x, dy, flip_a=True), b.sum(dy, 0))

        return b.add(b.matmul(x, kernel), bias), pullback

    return Layer("dense", output_shape, specs, apply)


def relu() -> Layer:
    """``max(x, 0)``; the gradient at 0 is 0."""

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del params, seed
        y = b.relu(x)
        return y, lambda dy: (b.mul(dy, b.relu_mask(y)), ())

    return Layer("relu", lambda shape: shape, no_params, apply)


def scale(*factors: float) -> Layer:
    """Multiply by fixed factors, one for all channels or one for each of them."""

    def output_shape(shape: Shape) -> Shape:
        if len(factors) not in {1, shape[-1]}:
            raise ConfigError(
                f"scale has {len(factors)} factors for {shape[-1]} channels",
                remedy="give one, or one for each channel",
            )
        return shape

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del params, seed
        factor = b.constant(np.asarray(factors if len(factors) > 1 else factors[0]))
        return b.mul(x, factor), lambda dy: (b.mul(dy, factor), ())

    return Layer("scale", output_shape, no_params, apply)


def standardize() -> Layer:
    """``(x - mean) * scale`` over the last axis, by the fleet's statistics.

    Devices send count, sum and sum of squares of every channel; the server makes mean
    and 1 / standard deviation of them before the first round. Until then it does
    nothing.
    """

    def specs(shape: Shape) -> tuple[ParamSpec, ...]:
        channels = shape[-1:]
        return (
            ParamSpec("mean", channels, "feature_mean", trainable=False),
            ParamSpec("scale", channels, "feature_scale", trainable=False),
        )

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del seed
        mean, factor = params
        shape = b.shape(x)
        rows = (math.prod(shape[:-1]), shape[-1])
        centred = b.sub(x, mean)

        def pullback(dy: Tensor) -> Gradients:
            dx = b.mul(dy, factor)
            dmean = b.sub(b.constant(0.0), b.sum(b.reshape(dx, rows), 0))
            dfactor = b.sum(b.reshape(b.mul(dy, centred), rows), 0)
            return dx, (dmean, dfactor)

        return b.mul(centred, factor), pullback

    return Layer("standardize", lambda shape: shape, specs, apply)


def flatten() -> Layer:
    """Make one dimension of all but the batch."""

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del params, seed
        shape = b.shape(x)
        y = b.reshape(x, (shape[0], math.prod(shape[1:])))
        return y, lambda dy: (b.reshape(dy, shape), ())

    return Layer("flatten", lambda shape: (math.prod(shape),), no_params, apply)
