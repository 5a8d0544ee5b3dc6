"""The same numbers in another shape. Pure."""

import math

from model_zoo.backend import Backend, Shape, Tensor
from model_zoo.layers import Layer, Pullback, Seed, no_params
from wire_protocol.errors import ConfigError


def reshape(*shape: int) -> Layer:
    """Give an example the ``shape``, in the order of its numbers."""

    def output_shape(given: Shape) -> Shape:
        if min(shape, default=1) < 1 or math.prod(given) != math.prod(shape):
            raise ConfigError(
                f"an example of shape {given} cannot be reshaped to {shape}",
                remedy="keep how many numbers an example has",
            )
        return shape

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del params, seed
        given = b.shape(x)
        y = b.reshape(x, (given[0], *shape))
        return y, lambda dy: (b.reshape(dy, given), ())

    return Layer("reshape", output_shape, no_params, apply)
