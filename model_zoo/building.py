"""Build a model's artifact: TFLite and ONNX files, and the manifest with its self-test.

Needs TensorFlow and onnx; nothing else in the kit does.
"""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np

from model_zoo.graphs import graphs
from model_zoo.model import Model
from model_zoo.runners import oracle
from model_zoo.stepping import Settings, evaluate, train
from wire_protocol import selftest
from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import INITIAL, FileRef, Manifest, SelfTest
from wire_protocol.params import Vector

SELF_TEST_STEPS: Final = Settings(learning_rate=0.05, momentum=0.9, mu=0.1)
SELF_TEST_TOLERANCE: Final = 1e-4
"""Runtimes were measured within 2e-6 (docs of ``edgefed zoo verify``)."""


def build(model: Model, folder: Path, *, initial: Vector | None = None) -> Manifest:
    """Write the artifact into ``folder``, made if need be, and return its manifest.

    ``initial`` are parameters to start from, shape ``[layout.size]``; None: a server
    draws them.
    """
    files = {**_onnx(model), "model.tflite": _tflite(model)}
    if initial is not None:
        files[INITIAL] = initial.astype("<f4").tobytes()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        # Runtimes map the old file; cutting it short would end them with SIGBUS.
        write_atomically(folder / name, content)
    refs = {
        name: FileRef(len(content), hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    }
    manifest = Manifest(
        name=model.name,
        task=model.task,
        input_shape=model.input_shape,
        outputs=model.outputs,
        batch=model.batch,
        layout=model.layout,
        files=refs,
        selftest=expected(model),
        optimizer=model.optimizer,
        seeded=model.seeded,
        tokens=model.tokens,
        labels=model.labels,
    )
    write_atomically(folder / "manifest.json", manifest.to_json())
    return manifest


def expected(model: Model) -> SelfTest:
    """Compute the self-test's outcome with the oracle, in float64."""
    run = oracle(model, dtype=np.float64)
    start = model.layout.split(selftest.start(model.layout))
    batches = list(selftest.batches(model))
    settings = SELF_TEST_STEPS.of(model)
    outcome = train(
        run,
        [tensor.astype(np.float64) for tensor in start],
        batches=batches,
        settings=settings,
    )
    eval_loss, _ = evaluate(run, outcome.params, batch=batches[0])
    return SelfTest(
        losses=tuple(_rounded(loss) for loss in outcome.losses),
        norms=tuple(_rounded(float(np.linalg.norm(p))) for p in outcome.params),
        eval_loss=_rounded(eval_loss),
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        mu=settings.mu,
        tolerance=SELF_TEST_TOLERANCE,
    )


def _rounded(value: float) -> float:
    """Keep nine digits: far below the tolerance, far above the order of summation."""
    return float(f"{value:.9g}")


def _tflite(model: Model) -> bytes:
    try:
        from model_zoo import tflite_backend  # noqa: PLC0415
    except ImportError as error:
        raise missing_library("TensorFlow") from error
    return tflite_backend.emit(graphs(model))


def _onnx(model: Model) -> dict[str, bytes]:
    try:
        from model_zoo import onnx_backend  # noqa: PLC0415
    except ImportError as error:
        raise missing_library("onnx") from error
    return {f"{graph.name}.onnx": onnx_backend.emit(graph) for graph in graphs(model)}


def missing_library(library: str) -> ConfigError:
    """Return the error of a building step that lacks ``library``."""
    return ConfigError(
        f"{library} is not installed; building an artifact needs it",
        remedy="pip install tensorflow onnx",
    )
