"""The self-test's inputs: exact integer sequences, equal on every machine.

The zoo runs them through its numpy oracle and writes the outcome into the manifest; a
device runs them through its own runtime and compares, since a runtime can be silently
wrong (tflite-runtime 2.14 is, for some operators). This module is pure.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import TrainingError
from wire_protocol.manifest import Contract, SelfTest
from wire_protocol.params import ParamLayout, Vector

STEPS: Final = 3

Targets: TypeAlias = NDArray[np.int32] | NDArray[np.float32]
"""What a model is to put out, for each example."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A fixed-size batch: ``x[B, ...]``, targets ``y``, ``w[B]``; w = 0 is padding.

    ``y`` is ``[B]`` int32 for classification, ``[B, outputs]`` float32 for regression
    and binary tasks, and empty for reconstruction.
    """

    x: Vector
    y: Targets
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
            case "ones" | "feature_scale":
                values = 1 + noise * np.float32(0.1)
            case _:
                values = noise * np.float32(0.1)
        tensors.append(values.reshape(spec.shape))
    return layout.join(tensors)


def batches(contract: Contract, *, steps: int = STEPS) -> Iterator[Batch]:
    """Yield the self-test's batches; the last two examples of each are padding."""
    size, shape = contract.batch, contract.input_shape
    count = size * math.prod(shape)
    for number in range(steps):
        x = hashed_uniform(count, seed=number) * np.float32(2)
        if contract.tokens:
            x = np.floor((x + 1) * np.float32(contract.tokens / 2))
        w = np.ones(size, np.float32)
        w[-2:] = 0
        yield Batch(x.reshape(size, *shape), _targets(contract, number), w)


def _targets(contract: Contract, number: int) -> Targets:
    size, outputs = contract.batch, contract.outputs
    match contract.task:
        case "classification":
            labels = np.arange(size) * 5 + number
            return (labels % outputs).astype(np.int32)
        case "reconstruction":
            return np.zeros((size, 0), np.float32)
        case _:
            values = hashed_uniform(size * outputs, seed=50 + number)
            return (values + np.float32(0.5)).reshape(size, outputs)


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
