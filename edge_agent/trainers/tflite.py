"""Training on LiteRT or its predecessor tflite-runtime; the only importer of both.

XNNPACK stays on: without it LiteRT trains depthwise models five times slower.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.trainers.tensors import Tensors
from wire_protocol.errors import TrainingError
from wire_protocol.manifest import Manifest
from wire_protocol.params import Vector
from wire_protocol.selftest import Batch


def litert_trainer(folder: Path, manifest: Manifest, threads: int) -> "TfliteTrainer":
    """Open ``model.tflite`` on LiteRT."""
    return _opened("ai_edge_litert", folder, manifest=manifest, threads=threads)


def tflite_runtime_trainer(
    folder: Path, manifest: Manifest, threads: int
) -> "TfliteTrainer":
    """Open ``model.tflite`` on tflite-runtime."""
    return _opened("tflite_runtime", folder, manifest=manifest, threads=threads)


def smoke_test(package: str, file: Path) -> Vector:
    """Run the one-operator model ``file`` on ``package``: twice [1, 2, 3, 4]."""
    interpreter = _interpreter(package, file, threads=1)
    interpreter.allocate_tensors()
    index = interpreter.get_input_details()[0]["index"]
    interpreter.set_tensor(index, np.array([1, 2, 3, 4], np.float32))
    interpreter.invoke()
    output: Vector = interpreter.get_tensor(
        interpreter.get_output_details()[0]["index"]
    )
    return output


class TfliteTrainer:
    """The ``Trainer`` of one ``model.tflite``."""

    def __init__(self, interpreter: Any, manifest: Manifest) -> None:  # noqa: ANN401 - untyped library
        self._tensors = Tensors(manifest.layout)
        self._train = interpreter.get_signature_runner("train")
        self._evaluate = interpreter.get_signature_runner("evaluate")

    def begin(self, params: Vector) -> None:
        """Start from ``params``, shape ``[size]``, with no velocity, anchored there."""
        self._tensors.begin(params)

    def step(
        self, batch: Batch, *, learning_rate: float, momentum: float, mu: float
    ) -> float:
        """Take one step; return the batch's mean loss before it."""
        inputs = self._tensors.train_inputs(
            batch, learning_rate=learning_rate, momentum=momentum, mu=mu
        )
        outputs = _run(self._train, inputs)
        self._tensors.advance(outputs)
        return float(outputs["loss"])

    def evaluate(self, batch: Batch) -> tuple[float, float]:
        """Return weighted sums over ``batch``: of the loss, and of correct answers."""
        outputs = _run(self._evaluate, self._tensors.evaluate_inputs(batch))
        return float(outputs["loss_sum"]), float(outputs["correct"])

    def params(self) -> Vector:
        """Return the parameters now, as a fresh vector of shape ``[size]``."""
        return self._tensors.params()

    def close(self) -> None:
        """Give the runtime's memory back."""
        self._train = self._evaluate = None


def _opened(
    package: str, folder: Path, *, manifest: Manifest, threads: int
) -> TfliteTrainer:
    interpreter = _interpreter(package, folder / "model.tflite", threads=threads)
    try:
        return TfliteTrainer(interpreter, manifest)
    except ValueError as error:
        raise TrainingError(
            f"{package}: not a training artifact: {error!r:.200}",
            remedy="build it with edgefed zoo build",
        ) from error


def _interpreter(package: str, file: Path, *, threads: int) -> Any:  # noqa: ANN401 - untyped library
    try:
        module = importlib.import_module(f"{package}.interpreter")
        return module.Interpreter(model_path=str(file), num_threads=threads)
    # tflite-runtime on numpy 2 raises AttributeError and SystemError here
    except Exception as error:
        raise TrainingError(
            f"{package} cannot open {file.name}: {error!r:.200}",
            remedy="see edgefed agent probe",
        ) from error


def _run(signature: Any, inputs: dict[str, Any]) -> dict[str, Vector]:  # noqa: ANN401 - untyped library
    try:
        outputs: dict[str, Vector] = signature(**inputs)
    except (ValueError, RuntimeError) as error:
        raise TrainingError(f"the runtime failed: {error!r:.200}") from error
    return outputs
