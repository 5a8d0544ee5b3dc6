"""Group normalization (Wu & He, 2018) and layer normalization (Ba et al., 2016). Pure.

Preferred to batch normalization: it does not mix examples, so padding rows change
nothing and no statistics need federating.
"""

import math

from model_zoo.backend import Backend, Shape, Tensor
from model_zoo.layers import Gradients, Layer, Pullback, Seed, scale_and_offset
from wire_protocol.errors import ConfigError

EPSILON = 1e-5


def group_norm(groups: int, *, epsilon: float = EPSILON) -> Layer:
    """Standardise every group of channels over all places, then scale and shift."""

    def output_shape(shape: Shape) -> Shape:
        if shape[-1] % groups:
            raise ConfigError(
                f"{shape[-1]} channels do not make {groups} groups",
                remedy="use a number of groups that divides the channels",
            )
        return shape

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del seed
        gamma, beta = params
        shape = b.shape(x)
        count, channels, places = shape[0], shape[-1], math.prod(shape[1:-1])
        each = channels // groups

        def group_mean(a: Tensor) -> Tensor:
            """``[N, places, C]`` to ``[N, 1, C]``, equal within each group."""
            by_group = b.reshape(b.mean(a, 1), (count * groups, each))
            mean = b.reshape(b.mean(by_group, 1), (count * groups, 1))
            return b.reshape(b.tile(mean, (1, each)), (count, 1, channels))

        flat = b.reshape(x, (count, places, channels))
        centred = b.sub(flat, group_mean(flat))
        variance = group_mean(b.mul(centred, centred))
        inverse = _inverse_root(b, variance, epsilon)
        normal = b.mul(centred, inverse)

        def pullback(dy: Tensor) -> Gradients:
            dy = b.reshape(dy, (count, places, channels))
            rows = (count * places, channels)
            dgamma = b.sum(b.reshape(b.mul(dy, normal), rows), 0)
            dbeta = b.sum(b.reshape(dy, rows), 0)
            dnormal = b.mul(dy, gamma)
            pulled = b.mul(normal, group_mean(b.mul(dnormal, normal)))
            dx = b.sub(b.sub(dnormal, group_mean(dnormal)), pulled)
            return b.reshape(b.mul(dx, inverse), shape), (dgamma, dbeta)

        y = b.add(b.mul(normal, gamma), beta)
        return b.reshape(y, shape), pullback

    return Layer("group_norm", output_shape, scale_and_offset, apply)


def layer_norm(*, epsilon: float = EPSILON) -> Layer:
    """Standardise over the channels at each place, then scale and shift."""

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del seed
        gamma, beta = params
        shape = b.shape(x)
        places, channels = math.prod(shape[:-1]), shape[-1]

        def place_mean(a: Tensor) -> Tensor:
            return b.reshape(b.mean(a, 1), (places, 1))

        flat = b.reshape(x, (places, channels))
        centred = b.sub(flat, place_mean(flat))
        variance = place_mean(b.mul(centred, centred))
        inverse = _inverse_root(b, variance, epsilon)
        normal = b.mul(centred, inverse)

        def pullback(dy: Tensor) -> Gradients:
            dy = b.reshape(dy, (places, channels))
            dgamma = b.sum(b.mul(dy, normal), 0)
            dnormal = b.mul(dy, gamma)
            pulled = b.mul(normal, place_mean(b.mul(dnormal, normal)))
            dx = b.sub(b.sub(dnormal, place_mean(dnormal)), pulled)
            return b.reshape(b.mul(dx, inverse), shape), (dgamma, b.sum(dy, 0))

        y = b.add(b.mul(normal, gamma), beta)
        return b.reshape(y, shape), pullback

    return Layer("layer_norm", lambda shape: shape, scale_and_offset, apply)


def _inverse_root(b: Backend, variance: Tensor, epsilon: float) -> Tensor:
    one = b.constant(1.0)
    return b.div(one, b.sqrt(b.add(variance, b.constant(epsilon))))
