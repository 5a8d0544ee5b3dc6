"""The gated recurrent unit, unrolled. Pure.

Cho et al. (2014, arXiv 1406.1078), in the form that resets after the product with the
recurrent kernel (``reset_after``, the default of Keras and the only one of cuDNN): a
step is one product then. Gates lie in Keras's order: update, reset, candidate.
"""

import math
from collections.abc import Callable

import numpy as np

from model_zoo.backend import Backend, Shape, Tensor
from model_zoo.convolutions import bias_gradient
from model_zoo.layers import Gradients, Layer, Pullback, Seed, require_rank
from wire_protocol.params import ParamSpec


def gru(units: int, *, sequences: bool = False) -> Layer:
    """``[N, L, C]`` to the last state ``[N, units]``, or to all: ``[N, L, units]``.

    Parameters are ``kernel[C, 3 units]``, ``recurrent[units, 3 units]`` and ``bias[2,
    3 units]``: of the input, and of the state. Every step is in the graph; its size
    grows with ``L``.
    """

    def output_shape(shape: Shape) -> Shape:
        require_rank("gru", shape, rank=2)
        return (shape[0], units) if sequences else (units,)

    def specs(shape: Shape) -> tuple[ParamSpec, ...]:
        inputs = shape[-1]
        return (
            ParamSpec(
                "kernel",
                (inputs, 3 * units),
                "uniform",
                math.sqrt(6 / (inputs + units)),
            ),
            ParamSpec("recurrent", (units, 3 * units), "uniform", math.sqrt(1 / units)),
            ParamSpec("bias", (2, 3 * units)),
        )

    def apply(
        b: Backend, x: Tensor, *, params: tuple[Tensor, ...], seed: Seed
    ) -> tuple[Tensor, Pullback]:
        del seed
        kernel, recurrent, biases = params
        count, length, inputs = b.shape(x)
        rows = b.reshape(b.transpose(x, (1, 0, 2)), (length * count, inputs))
        of_input = b.crop(biases, (0, 0), size=(1, 3 * units))
        of_state = b.crop(biases, (1, 0), size=(1, 3 * units))
        driven = b.add(b.matmul(rows, kernel), of_input)
        states = [b.constant(np.zeros((count, units)))]
        pulls = []
        for t in range(length):
            drive = b.crop(driven, (t * count, 0), size=(count, 3 * units))
            recall = b.add(b.matmul(states[-1], recurrent), of_state)
            state, pull = _step(b, states[-1], drive=drive, recall=recall)
            states.append(state)
            pulls.append(pull)

        def pullback(dy: Tensor) -> Gradients:
            turned = b.transpose(recurrent, (1, 0))

            def given(t: int) -> Tensor:
                """Return the gradient by state ``t`` that does not come from later."""
                part = b.crop(dy, (0, t, 0), size=(count, 1, units))
                return b.reshape(part, (count, units))

            by_state = given(length - 1) if sequences else dy
            by_drive: list[Tensor] = []
            by_recall: list[Tensor] = []
            for t in reversed(range(length)):
                kept, drive, recall = pulls[t](by_state)
                by_drive.insert(0, drive)
                by_recall.insert(0, recall)
                by_state = b.add(kept, b.matmul(recall, turned))
                if sequences and t:
                    by_state = b.add(by_state, given(t - 1))
            drives, recalls = b.concat(by_drive, 0), b.concat(by_recall, 0)
            dx = b.matmul(drives, kernel, flip_b=True)
            dx = b.transpose(b.reshape(dx, (length, count, inputs)), (1, 0, 2))
            dbiases = [
                b.reshape(bias_gradient(b, each), (1, 3 * units))
                for each in (drives, recalls)
            ]
            return dx, (
                b.matmul(rows, drives, flip_a=True),
                b.matmul(b.concat(states[:-1], 0), recalls, flip_a=True),
                b.concat(dbiases, 0),
            )

        if not sequences:
            return states[-1], pullback
        stacked = b.reshape(b.concat(states[1:], 0), (length, count, units))
        return b.transpose(stacked, (1, 0, 2)), pullback

    return Layer("gru", output_shape, specs, apply)


def _step(
    b: Backend, state: Tensor, *, drive: Tensor, recall: Tensor
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]]:
    """Return the next state ``z h + (1 - z) tanh(drive + r recall)``.

    Args:
        b: What computes or emits.
        state: ``h[N, units]``.
        drive: What the input adds to each gate, ``[N, 3 units]``.
        recall: What the state adds.

    Returns:
        And its pullback: to the state kept, to ``drive`` and to ``recall``.
    """
    count, units = b.shape(state)
    one = b.constant(1.0)

    def gate(a: Tensor, number: int, *, wide: int = 1) -> Tensor:
        return b.crop(a, (0, number * units), size=(count, wide * units))

    gates = b.sigmoid(b.add(gate(drive, 0, wide=2), gate(recall, 0, wide=2)))
    update, reset = gate(gates, 0), gate(gates, 1)
    remembered = gate(recall, 2)
    candidate = b.tanh(b.add(gate(drive, 2), b.mul(reset, remembered)))
    change = b.sub(state, candidate)

    def pull(dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        kept = b.mul(dy, update)
        by_candidate = b.mul(b.sub(dy, kept), b.sub(one, b.mul(candidate, candidate)))
        by_gates = b.concat([b.mul(dy, change), b.mul(by_candidate, remembered)], 1)
        by_gates = b.mul(by_gates, b.mul(gates, b.sub(one, gates)))
        return (
            kept,
            b.concat([by_gates, by_candidate], 1),
            b.concat([by_gates, b.mul(by_candidate, reset)], 1),
        )

    return b.add(candidate, b.mul(update, change)), pull
