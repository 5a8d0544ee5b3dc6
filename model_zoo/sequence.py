"""Layers in a row: shapes, parameters, forward and backward. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from model_zoo.backend import Backend, Shape, Tensor
from model_zoo.layers import Gradients, Layer, Pullback, Seed
from wire_protocol.params import ParamSpec


def shape_after(layers: Sequence[Layer], shape: Shape) -> Shape:
    """Return the shape of the last layer's output, or raise ``ConfigError``."""
    for layer in layers:
        shape = layer.output_shape(shape)
    return shape


def specs_of(
    layers: Sequence[Layer], shape: Shape, *, digits: int
) -> list[tuple[ParamSpec, ...]]:
    """Return each layer's parameters, named like ``01.conv1d.kernel`` in two digits."""
    specs = []
    for number, layer in enumerate(layers):
        specs.append(
            tuple(
                replace(spec, name=f"{number:0{digits}}.{layer.kind}.{spec.name}")
                for spec in layer.specs(shape)
            )
        )
        shape = layer.output_shape(shape)
    return specs


def apply_all(
    b: Backend,
    x: Tensor,
    *,
    layers: Sequence[Layer],
    params: Sequence[Tensor],
    seed: Seed,
) -> tuple[Tensor, Pullback]:
    """Run forward; the pullback gives the gradients in the parameters' order.

    Each layer draws by a seed of its own.
    """
    left = list(params)
    pullbacks: list[Pullback] = []
    for number, layer in enumerate(layers):
        count = len(layer.specs(b.shape(x)[1:]))
        mine, left = tuple(left[:count]), left[count:]
        own = seed.of(number) if seed else None
        x, pullback = layer.apply(b, x, params=mine, seed=own)
        pullbacks.append(pullback)

    def pull(dy: Tensor) -> Gradients:
        grads: tuple[Tensor, ...] = ()
        for pullback in reversed(pullbacks):
            dy, of_layer = pullback(dy)
            grads = (*of_layer, *grads)
        return dy, grads

    return x, pull
