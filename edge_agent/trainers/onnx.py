"""Training on ONNX Runtime; its only importer."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edge_agent.trainers.tensors import Tensors
from wire_protocol.errors import TrainingError
from wire_protocol.manifest import Manifest
from wire_protocol.params import Vector
from wire_protocol.selftest import Batch


def smoke_test(file: Path) -> Vector:
    """Run the one-operator model ``file``: twice [1, 2, 3, 4]."""
    x = np.array([1, 2, 3, 4], np.float32)
    return _run(_session(file, 1), ["y"], {"x": x})["y"]


class OnnxTrainer:
    """The ``Trainer`` of ``train.onnx`` and ``evaluate.onnx``."""

    def __init__(self, folder: Path, manifest: Manifest, threads: int) -> None:
        self._folder = folder
        self._threads = threads
        self._tensors = Tensors(manifest.layout)
        self._outputs = ["loss", *self._tensors.new_names]
        self._train: Any = _session(folder / "train.onnx", threads)
        self._evaluate: Any = None

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
        outputs = _run(self._train, self._outputs, inputs)
        self._tensors.advance(outputs)
        return float(outputs["loss"])

    def evaluate(self, batch: Batch) -> tuple[float, float]:
        """Return weighted sums over ``batch``: of the loss, and of correct answers."""
        if self._evaluate is None:  # a plan need not ask for it
            self._evaluate = _session(self._folder / "evaluate.onnx", self._threads)
        outputs = _run(
            self._evaluate,
            ["loss_sum", "correct"],
            self._tensors.evaluate_inputs(batch),
        )
        return float(outputs["loss_sum"]), float(outputs["correct"])

    def params(self) -> Vector:
        """Return the parameters now, as a fresh vector of shape ``[size]``."""
        return self._tensors.params()

    def close(self) -> None:
        """Give the runtime's memory back."""
        self._train = self._evaluate = None


def _session(file: Path, threads: int) -> Any:  # noqa: ANN401 - untyped library
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The arena keeps the most it ever took, and planning ahead takes 3 MB for har-cnn1d
    # without making a step faster; a device would rather have the memory.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
    # onnxruntime's exceptions have no parent of their own
    except Exception as error:
        raise TrainingError(
            f"onnxruntime cannot open {file.name}: {error!r:.200}",
            remedy="see edgefed agent probe",
        ) from error


def _run(session: Any, names: list[str], inputs: dict[str, Any]) -> dict[str, Vector]:  # noqa: ANN401 - untyped library
    try:
        return dict(zip(names, session.run(names, inputs), strict=True))
    except Exception as error:
        raise TrainingError(f"onnxruntime failed: {error!r:.200}") from error
