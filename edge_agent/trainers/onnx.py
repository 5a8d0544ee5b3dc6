"""Training on ONNX Runtime; its only importer."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edge_agent.trainers.graphs import Graph, Graphs
from wire_protocol.errors import TrainingError
from wire_protocol.params import Vector


def smoke_test(file: Path) -> Vector:
    """Run the one-operator model ``file``: twice [1, 2, 3, 4]."""
    x = np.array([1, 2, 3, 4], np.float32)
    return _graph(file, 1)({"x": x})["y"]


def open_graphs(folder: Path, *, threads: int) -> Graphs:
    """Open ``train.onnx`` now, and ``evaluate.onnx`` when a plan first asks for it."""

    @functools.cache
    def opened() -> Graph:
        return _graph(folder / "evaluate.onnx", threads)

    def evaluate(inputs: dict[str, Any]) -> Mapping[str, Vector]:
        return opened()(inputs)

    return Graphs(train=_graph(folder / "train.onnx", threads), evaluate=evaluate)


def _graph(file: Path, threads: int) -> Graph:
    session = _session(file, threads)
    names = [output.name for output in session.get_outputs()]

    def run(inputs: dict[str, Any]) -> Mapping[str, Vector]:
        try:
            return dict(zip(names, session.run(names, inputs), strict=True))
        # onnxruntime's exceptions have no parent of their own
        except Exception as error:
            raise TrainingError(f"onnxruntime failed: {error!r:.200}") from error

    return run


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
