"""The self-test's inputs: exact integer sequences, equal on every machine.

The zoo runs them through its numpy oracle and writes the outcome into the manifest; a
device runs them through its own runtime and compares, since a runtime can be silently
wrong (tflite-runtime 2.14 is, for some operators). This module is pure.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import TrainingError
from wire_protocol.manifest import SelfTest
from wire_protocol.params import ParamLayout, Vector

STEPS: Final = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """A fixed-size batch: ``x[B, ...]``, ``y[B]`` int32, ``w[B]``; w = 0 is padding."""

    x: Vector
    y: NDArray[np.int32]
    w: Vector


def hashed_uniform(count: int, *, seed: int) -> Vector:
    """Return ``count`` values in [-0.5, 0.5), exact multiples of 2**-16."""
    index = np.arange(count, dtype=np.uint64) + np.uint64(seed * 7919 + 1)
    mixed = (index * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    mixed ^= mixed >> np.uint64(15)
    mixed = (mixed * np.uint64(2246822519)) & np.uint64(0xFFFFFFFF)
    mixed ^= mixed >> np.uint64(13)
    return ((mixed >> np.uint64(16)).astype(np.float32) / 65536 - 0.5).astype(
        np.float32
    )


def start(layout: ParamLayout) -> Vector:
    """Return the self-test's starting parameters, scaled as the layout's starts."""
    tensors = []
    for number, spec in enumerate(layout.specs):
        noise = hashed_uniform(spec.size, seed=100 + number)
        match spec.init:
            case "uniform":
                values = noise * np.float32(2 * spec.scale)
            case "ones":
                values = 1 + noise * np.float32(0.1)
            case _:
                values = noise * np.float32(0.1)
        tensors.append(values.reshape(spec.shape))
    return layout.join(tensors)


def batches(
    input_shape: Sequence[int], *, classes: int, size: int, steps: int = STEPS
) -> Iterator[Batch]:
    """Yield the self-test's batches; the last two examples of each are padding."""
    count = size * math.prod(input_shape)
    for number in range(steps):
        x = hashed_uniform(count, seed=number) * np.float32(2)
        labels = np.arange(size) * 5 + number
        w = np.ones(size, np.float32)
        w[-2:] = 0
        yield Batch(
            x.reshape(size, *input_shape), (labels % classes).astype(np.int32), w
        )


def check(
    expected: SelfTest,
    *,
    losses: Sequence[float],
    norms: Sequence[float],
    eval_loss: float,
) -> None:
    """Raise ``TrainingError`` where what came differs from what was expected."""
    pairs = [
        *(
            (f"loss {i}", *pair)
            for i, pair in enumerate(zip(losses, expected.losses, strict=True))
        ),
        *(
            (f"norm {i}", *pair)
            for i, pair in enumerate(zip(norms, expected.norms, strict=True))
        ),
        ("evaluation loss", eval_loss, expected.eval_loss),
    ]
    for what, came, wanted in pairs:
        if not abs(came - wanted) <= expected.tolerance * max(abs(wanted), 1e-2):
            raise TrainingError(
                f"self-test: {what} is {came:.6g}, expected {wanted:.6g}",
                remedy="this runtime computes wrongly here; choose another one",
            )
