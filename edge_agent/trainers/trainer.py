"""What a trainer does, whatever runtime it uses, and how one is opened.

A trainer runs one artifact. It holds the parameters, the velocity and the anchor
between steps, so that a step copies only what its runtime must copy. It is used by one
thread at a time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

from edge_agent.runtimes import RuntimeName
from wire_protocol.manifest import Manifest
from wire_protocol.params import Vector
from wire_protocol.selftest import Batch

Opener: TypeAlias = Callable[[Path, Manifest, int], "Trainer"]
"""Opens the artifact in a folder with a number of threads."""


class Trainer(Protocol):
    """One artifact on one runtime; errors of the runtime are ``TrainingError``."""

    def begin(self, params: Vector) -> None:
        """Start from ``params``, shape ``[size]``, with no velocity, anchored there."""

    def step(
        self, batch: Batch, *, learning_rate: float, momentum: float, mu: float
    ) -> float:
        """Take one step; return the batch's mean loss before it."""

    def evaluate(self, batch: Batch) -> tuple[float, float]:
        """Return weighted sums over ``batch``: of the loss, and of correct answers."""

    def params(self) -> Vector:
        """Return the parameters now, as a fresh vector of shape ``[size]``."""

    def close(self) -> None:
        """Give the runtime's memory back."""


def open_trainer(
    runtime: RuntimeName, folder: Path, *, manifest: Manifest, threads: int = 1
) -> Trainer:
    """Open the artifact in ``folder``; the runtime is imported here and not before.

    Raises:
        TrainingError: The runtime is not installed or does not take the artifact.
    """
    return _opener(runtime)(folder, manifest, threads)


def _opener(runtime: RuntimeName) -> Opener:
    # Imported here: a runtime takes tens of MB, an idle agent has none to spare.
    match runtime:
        case "onnxruntime":
            from edge_agent.trainers.onnx import OnnxTrainer  # noqa: PLC0415

            return OnnxTrainer
        case "litert":
            from edge_agent.trainers.tflite import litert_trainer  # noqa: PLC0415

            return litert_trainer
        case "tflite-runtime":
            from edge_agent.trainers.tflite import (  # noqa: PLC0415
                tflite_runtime_trainer,
            )

            return tflite_runtime_trainer
