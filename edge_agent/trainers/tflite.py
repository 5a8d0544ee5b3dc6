"""Training on LiteRT or its predecessor tflite-runtime; the only importer of both.

XNNPACK stays on: without it LiteRT trains depthwise models five times slower.
"""

import functools
import importlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_agent.runtimes import RuntimeName
from edge_agent.trainers.graphs import Graphs
from wire_protocol.errors import TrainingError
from wire_protocol.params import Vector

PACKAGES: Final[dict[RuntimeName, str]] = {
    "litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
}


def open_graphs(package: str, folder: Path, *, threads: int) -> Graphs:
    """Open ``model.tflite`` on ``package``."""
    interpreter = _interpreter(package, folder / "model.tflite", threads=threads)
    try:
        train, evaluate = (
            functools.partial(_run, interpreter.get_signature_runner(name))
            for name in ("train", "evaluate")
        )
    except ValueError as error:
        raise TrainingError(
            f"{package}: not a training artifact: {error!r:.200}",
            remedy="build it with edgefed zoo build",
        ) from error
    return Graphs(train, evaluate)


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
