"""Activations: functions of each value alone. Pure."""

from collections.abc import Callable

from model_zoo.backend import Backend, Tensor
from model_zoo.layers import Gradients, Layer, Pullback, Seed, no_params

Slope = Callable[[Backend, Tensor], Tensor]


def relu6() -> Layer:
    """``min(max(x, 0), 6)``; the gradient at 0 and at 6 is 0."""

    def slope(b: Backend, y: Tensor) -> Tensor:
        below = b.sub(b.constant(6.0), y)
        return b.mul(b.relu_mask(y), b.relu_mask(below))

    return _by_output(
        "relu6", lambda b, x: b.minimum(b.relu(x), b.constant(6.0)), slope
    )


def tanh() -> Layer:
    """The hyperbolic tangent."""
    return _by_output(
        "tanh", lambda b, x: b.tanh(x), lambda b, y: b.sub(b.constant(1.0), b.mul(y, y))
    )


def sigmoid() -> Layer:
    """``1 / (1 + exp(-x))``."""
    return _by_output(
        "sigmoid",
        lambda b, x: b.sigmoid(x),
        lambda b, y: b.mul(y, b.sub(b.constant(1.0), y)),
    )


def _by_output(
    kind: str, function: Callable[[Backend, Tensor], Tensor], slope: Slope
) -> Layer:
    """Make a layer of a function whose slope follows from its output."""

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del params, seed
        y = function(b, x)

        def pullback(dy: Tensor) -> Gradients:
            return b.mul(dy, slope(b, y)), ()

        return y, pullback

    return Layer(kind, lambda shape: shape, no_params, apply)
