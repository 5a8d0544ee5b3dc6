"""Embeddings: a trained vector for each token. Pure."""

import numpy as np

from model_zoo.backend import Backend, Shape, Tensor
from model_zoo.layers import Gradients, Layer, Pullback, Seed, require_rank
from wire_protocol.params import ParamSpec


def embedding(tokens: int, width: int) -> Layer:
    """``[N, L]`` of whole numbers to ``[N, L, width]``; ``table[tokens, width]``.

    For tens or hundreds of tokens: a row is looked up as a product, which every runtime
    computes fast and alike, gradient included. A number outside of 0..tokens-1, or one
    that is not whole, gives zeros. The input's gradient is zero.
    """

    def output_shape(shape: Shape) -> Shape:
        require_rank("embedding", shape, rank=1)
        return (*shape, width)

    def specs(_shape: Shape) -> tuple[ParamSpec, ...]:
        return (ParamSpec("table", (tokens, width), "uniform", 0.05),)

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del seed
        (table,) = params
        count, length = b.shape(x)
        each = b.reshape(x, (count * length, 1))
        chosen = b.equal(each, b.constant(np.arange(float(tokens))[None]))

        def pullback(dy: Tensor) -> Gradients:
            rows = b.reshape(dy, (count * length, width))
            dx = b.mul(x, b.constant(0.0))
            return dx, (b.matmul(chosen, rows, flip_a=True),)

        return b.reshape(b.matmul(chosen, table), (count, length, width)), pullback

    return Layer("embedding", output_shape, specs, apply)
