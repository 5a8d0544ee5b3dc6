"""Run a built artifact on LiteRT, ONNX Runtime or the numpy oracle, all alike.

For building and verifying only; devices have their own trainers.
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from model_zoo.graphs import graphs
from model_zoo.model import Model
from model_zoo.numpy_backend import NumpyBackend
from wire_protocol.errors import ConfigError

Arrays = Mapping[str, NDArray[Any]]
Runner = Callable[[str, Arrays], dict[str, NDArray[Any]]]
"""Runs the graph of that name on named arrays."""
Single = Callable[[NDArray[np.float32]], dict[str, NDArray[Any]]]
"""Runs inference on one example ``[1, ...]``."""


def oracle(model: Model, *, dtype: DTypeLike = np.float64) -> Runner:
    """Run the definition itself in numpy."""
    backend = NumpyBackend(dtype)
    by_name = {graph.name: graph for graph in graphs(model)}

    def run(name: str, given: Arrays) -> dict[str, NDArray[Any]]:
        graph = by_name[name]
        cast = {
            port.name: np.asarray(
                given[port.name],
                backend.dtype if port.dtype == "float32" else port.dtype,
            )
            for port in graph.inputs
        }
        return graph.run(backend, cast)

    return run


def litert(folder: Path) -> Runner:
    """Run ``model.tflite`` on LiteRT, one thread."""
    interpreter = _litert("interpreter").Interpreter(
        str(folder / "model.tflite"), num_threads=1
    )
    signatures = {
        name: interpreter.get_signature_runner(name)
        for name in interpreter.get_signature_list()
    }

    def run(name: str, given: Arrays) -> dict[str, NDArray[Any]]:
        outputs: dict[str, NDArray[Any]] = signatures[name](**given)
        return outputs

    return run


def tflite_operators(folder: Path) -> frozenset[str]:
    """Return the names of all operators in ``model.tflite``, custom ones included."""
    return operators(folder / "model.tflite")


def operators(path: Path) -> frozenset[str]:
    """Return the names of all operators in a TFLite file."""
    schema = _litert("schema_py_generated")
    raw = path.read_bytes()
    file = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(raw, 0))
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    return frozenset(
        names[code.builtinCode]
        if code.customCode is None
        else f"CUSTOM {code.customCode.decode()}"
        for code in file.operatorCodes
    )


def onnx_runtime(folder: Path) -> Runner:
    """Run the ``.onnx`` files on ONNX Runtime, one thread; each opened when asked."""
    _imported("onnxruntime", distribution="onnxruntime")

    @functools.cache
    def opened(name: str) -> Any:  # noqa: ANN401 - untyped library
        return _session(folder / f"{name}.onnx")

    def run(name: str, given: Arrays) -> dict[str, NDArray[Any]]:
        session = opened(name)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, dict(given)), strict=True))

    return run


def single(path: Path) -> Single:
    """Run an inference file, ``.tflite`` or ``.onnx``, on its runtime; one thread."""
    if path.suffix == ".onnx":
        session = _session(path)
        names = [output.name for output in session.get_outputs()]
        return lambda x: dict(zip(names, session.run(None, {"x": x}), strict=True))
    interpreter = _litert("interpreter").Interpreter(str(path), num_threads=1)
    signature = interpreter.get_signature_runner("infer")
    return lambda x: dict(signature(x=x))


def _session(path: Path) -> Any:  # noqa: ANN401 - untyped library
    onnxruntime = _imported("onnxruntime", distribution="onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )


def _litert(module: str) -> ModuleType:
    return _imported(f"ai_edge_litert.{module}", distribution="ai-edge-litert")


def _imported(name: str, *, distribution: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{name.partition('.')[0]} is not installed",
            remedy=f"pip install {distribution}",
        ) from error
