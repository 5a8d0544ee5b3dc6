"""Training one artifact, whatever runtime it was opened on.

A trainer holds the parameters, the velocity and the anchor between steps, so that a
step copies only what its runtime must copy. It is used by one thread at a time.
"""

from pathlib import Path
from typing import Any, NoReturn, Protocol

from edge_agent.runtimes import RuntimeName
from edge_agent.trainers.graphs import Graphs
from edge_agent.trainers.tensors import Tensors
from wire_protocol.errors import TrainingError
from wire_protocol.manifest import Manifest
from wire_protocol.params import ParamLayout, Vector
from wire_protocol.selftest import Batch


class Trainer:
    """One opened artifact; errors of the runtime are ``TrainingError``."""

    def __init__(self, graphs: Graphs, layout: ParamLayout) -> None:
        self._train = graphs.train
        self._evaluate = graphs.evaluate
        self._tensors = Tensors(layout)

    def begin(self, params: Vector) -> None:
        """Start from ``params``, shape ``[size]``, with no velocity, anchored there."""
        self._tensors.begin(params)

    def go_on(self, params: Vector, velocity: Vector) -> None:
        """Take up what ``params`` and ``velocity`` gave; the anchor stays."""
        self._tensors.go_on(params, velocity)

    def step(
        self, batch: Batch, *, learning_rate: float, momentum: float, mu: float
    ) -> float:
        """Take one step; return the batch's mean loss before it."""
        inputs = self._tensors.train_inputs(
            batch, learning_rate=learning_rate, momentum=momentum, mu=mu
        )
        outputs = self._train(inputs)
        self._tensors.advance(outputs)
        return float(outputs["loss"])

    def evaluate(self, batch: Batch) -> tuple[float, float]:
        """Return weighted sums over ``batch``: of the loss, and of correct answers."""
        outputs = self._evaluate(self._tensors.evaluate_inputs(batch))
        return float(outputs["loss_sum"]), float(outputs["correct"])

    def params(self) -> Vector:
        """Return the parameters now, as a fresh vector of shape ``[size]``."""
        return self._tensors.params()

    def velocity(self) -> Vector:
        """Return the velocity now, as a fresh vector of shape ``[size]``."""
        return self._tensors.velocity()

    def close(self) -> None:
        """Give the runtime's memory back; closing again changes nothing."""
        self._train = self._evaluate = _closed


class OpenTrainer(Protocol):
    """How an artifact is opened; a test may bring its own graphs."""

    def __call__(
        self, runtime: RuntimeName, folder: Path, *, manifest: Manifest, threads: int
    ) -> Trainer:
        """Open the artifact in ``folder``."""


def open_trainer(
    runtime: RuntimeName, folder: Path, *, manifest: Manifest, threads: int = 1
) -> Trainer:
    """Open the artifact in ``folder``; the runtime is imported here and not before.

    Raises:
        TrainingError: The runtime is not installed or does not take the artifact.
    """
    return Trainer(_open(runtime, folder, threads=threads), manifest.layout)


def _open(runtime: RuntimeName, folder: Path, *, threads: int) -> Graphs:
    # Imported here: a runtime takes tens of MB, an idle agent has none to spare.
    match runtime:
        case "onnxruntime":
            from edge_agent.trainers import onnx  # noqa: PLC0415

            return onnx.open_graphs(folder, threads=threads)
        case "litert" | "tflite-runtime":
            from edge_agent.trainers import tflite  # noqa: PLC0415

            package = tflite.PACKAGES[runtime]
            return tflite.open_graphs(package, folder, threads=threads)


def _closed(_inputs: dict[str, Any]) -> NoReturn:
    raise TrainingError("the trainer is closed", remedy="open it again")
