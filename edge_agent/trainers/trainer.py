"""Training one artifact, whatever runtime it was opened on.

A trainer holds parameters, optimizer state and anchor between steps, so that a
step copies only what its runtime must copy. It is used by one thread at a time.
"""

from pathlib import Path
from typing import Any, NoReturn, Protocol

from edge_agent.runtimes import RuntimeName
from edge_agent.trainers.graphs import Graphs
from edge_agent.trainers.tensors import Tensors
from wire_protocol.errors import TrainingError
from wire_protocol.manifest import Manifest
from wire_protocol.params import Vector
from wire_protocol.selftest import Batch


class Trainer:
    """One opened artifact; errors of the runtime are ``TrainingError``."""

    def __init__(self, graphs: Graphs, tensors: Tensors) -> None:
        self._train = graphs.train
        self._evaluate = graphs.evaluate
        self._tensors = tensors
        self.state_size = tensors.state_size
        """Number of values in ``state``."""

    def begin(self, params: Vector) -> None:
        """Start from ``params``, shape ``[size]``, with zero state, anchored there."""
        self._tensors.begin(params)

    def go_on(self, params: Vector, state: Vector) -> None:
        """Take up what ``params`` and ``state`` gave; the anchor stays."""
        self._tensors.go_on(params, state)

    def step(
        self,
        batch: Batch,
        *,
        learning_rate: float,
        momentum: float,
        mu: float,
        number: int = 0,
        seed: int = 0,
    ) -> float:
        """Take one step; return the batch's mean loss before it.

        Args:
            batch: Examples.
            learning_rate: Of this step.
            momentum: Of SGD, or Adam's beta1.
            mu: Weight of the proximal term.
            number: Steps taken since ``begin``.
            seed: Of what a seeded artifact draws, one for all steps of a round.
        """
        inputs = self._tensors.train_inputs(
            batch,
            learning_rate=learning_rate,
            momentum=momentum,
            mu=mu,
            number=number,
            seed=seed,
        )
        outputs = self._train(inputs)
        self._tensors.advance(outputs)
        return float(outputs["loss"])

    def evaluate(self, batch: Batch) -> tuple[float, float]:
        """Return weighted sums over ``batch``: of the loss and the task's metric."""
        outputs = self._evaluate(self._tensors.evaluate_inputs(batch))
        return float(outputs["loss_sum"]), float(outputs["metric_sum"])

    def params(self) -> Vector:
        """Return the parameters now, as a fresh vector of shape ``[size]``."""
        return self._tensors.params()

    def state(self) -> Vector:
        """Return the optimizer state now, fresh, of shape ``[state_size]``."""
        return self._tensors.state()

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
    tensors = Tensors(
        manifest.layout,
        optimizer=manifest.optimizer,
        seeded=manifest.seeded,
        targets=manifest.task != "reconstruction",
    )
    return Trainer(_open(runtime, folder, threads=threads), tensors)


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
