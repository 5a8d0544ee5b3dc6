"""A learned scale and shift of every channel. Pure."""

import math

from model_zoo.backend import Backend, Tensor
from model_zoo.layers import Gradients, Layer, Pullback, Seed, scale_and_offset


def affine() -> Layer:
    """``x * scale + offset``, both learned, for each channel (the last axis).

    What a trained batch normalization is, when no convolution before it takes it up.
    """

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del seed
        factor, offset = params
        shape = b.shape(x)
        rows = (math.prod(shape[:-1]), shape[-1])

        def pullback(dy: Tensor) -> Gradients:
            dfactor = b.sum(b.reshape(b.mul(dy, x), rows), 0)
            doffset = b.sum(b.reshape(dy, rows), 0)
            return b.mul(dy, factor), (dfactor, doffset)

        return b.add(b.mul(x, factor), offset), pullback

    return Layer("affine", lambda shape: shape, scale_and_offset, apply)
