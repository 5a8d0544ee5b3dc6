"""Zeros around an image or a signal. Pure."""

from model_zoo.backend import Backend, Pair, Shape, Tensor
from model_zoo.layers import Gradients, Layer, Pullback, Seed, no_params
from wire_protocol.errors import ConfigError


def zero_pad(*sides: Pair) -> Layer:
    """Put zeros around: ``(before, after)`` along the height and width, or the length.

    For convolutions that pad otherwise than ``same`` does; put a ``valid`` one after.
    """

    def output_shape(shape: Shape) -> Shape:
        if len(sides) != len(shape) - 1:
            raise ConfigError(
                f"zero_pad has {len(sides)} sides for an input {shape}",
                remedy="give (before, after) for each axis but the channels",
            )
        padded = zip(shape[:-1], sides, strict=True)
        return (*(size + sum(side) for size, side in padded), shape[-1])

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del params, seed
        shape = b.shape(x)
        begin = (0, *(before for before, _ in sides), 0)

        def pullback(dy: Tensor) -> Gradients:
            return b.crop(dy, begin, size=shape), ()

        return b.pad(x, ((0, 0), *sides, (0, 0))), pullback

    return Layer("zero_pad", output_shape, no_params, apply)
