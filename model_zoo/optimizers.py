"""The optimizers of a training step. Pure.

SGD with momentum keeps a velocity ``s``; without momentum it is plain SGD. Adam (Kingma
& Ba, ICLR 2015) keeps a mean ``s`` and a mean square ``v`` of the gradients; whoever
calls corrects the rate (``wire_protocol.step_inputs``).
"""

from collections.abc import Mapping
from typing import Final

from model_zoo.backend import Backend, Tensor
from wire_protocol.manifest import Optimizer
from wire_protocol.step_inputs import ADAM_BETA2

EPSILON: Final = 1e-7

SLOTS: Final[Mapping[Optimizer, tuple[str, ...]]] = {"sgd": ("s",), "adam": ("s", "v")}
"""The state of each parameter, by the letters of its tensors."""


def stepped(
    b: Backend,
    before: Tensor,
    *,
    gradient: Tensor,
    state: tuple[Tensor, ...],
    settings: Mapping[str, Tensor],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return a parameter after the step, and its new state.

    ``state`` is a tensor for each slot: one for SGD, two for Adam. ``settings`` holds
    ``lr`` and ``momentum``.
    """
    momentum, rate = settings["momentum"], settings["lr"]
    if len(state) == 1:
        velocity = b.add(b.mul(momentum, state[0]), gradient)
        return b.sub(before, b.mul(rate, velocity)), (velocity,)
    one = b.constant(1.0)
    mean = b.add(b.mul(momentum, state[0]), b.mul(b.sub(one, momentum), gradient))
    square = b.add(
        b.mul(b.constant(ADAM_BETA2), state[1]),
        b.mul(b.constant(1 - ADAM_BETA2), b.mul(gradient, gradient)),
    )
    divisor = b.add(b.sqrt(square), b.constant(EPSILON))
    return b.sub(before, b.mul(rate, b.div(mean, divisor))), (mean, square)
