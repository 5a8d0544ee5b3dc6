"""Inference as TFLite: float32, float16 weights, or int8 with float32 at both ends.

With ``tflite_backend`` the only importer of TensorFlow. In int8 are the operators with
weights, which are nearly all of the work. Scaling, normalisation and gates stay
float32: their squares, roots and quotients are too far apart for 256 steps
(docs/quantize.md).
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from model_zoo.backend import Tensor
from model_zoo.graphs import Graph
from model_zoo.quantize.record import Format
from model_zoo.tflite_backend import TfliteBackend, converting, traced

Precision = Literal["f32", "f16", "int8"]
PRECISIONS: Final[dict[Format, Precision]] = {
    "tflite-f32": "f32",
    "tflite-f16": "f16",
    "tflite-int8": "int8",
}

INT8_OPERATORS: Final = frozenset(
    [
        *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"),
        *("BATCH_MATMUL", "PAD"),
    ]
)
"""With relu after a norm and pools in float32 too, har-cnn1d errs 0.6 times as much."""


class _InferenceBackend(TfliteBackend):
    """Leaves FULLY_CONNECTED to the converter: the fast one for constant weights."""

    def matmul(
        self, a: Tensor, b: Tensor, *, flip_a: bool = False, flip_b: bool = False
    ) -> Tensor:
        return tf.matmul(a, b, transpose_a=flip_a, transpose_b=flip_b)


class _Int8Backend(_InferenceBackend):
    """Keeps the factors of features out of the weights of the product after them.

    The converter would multiply them into the weights, and give one step of int8 to
    inputs that the factors were there to make alike. It folds nothing past a maximum.
    """

    def matmul(
        self, a: Tensor, b: Tensor, *, flip_a: bool = False, flip_b: bool = False
    ) -> Tensor:
        if _is_scaled(a):
            a = tf.maximum(a, a.dtype.min)
        return super().matmul(a, b, flip_a=flip_a, flip_b=flip_b)


def _is_scaled(a: Any) -> bool:  # noqa: ANN401 - untyped library
    """Tell whether ``a`` is features, reshaped or not, each times its own constant."""
    while a.op.type in ("Reshape", "Transpose"):
        a = a.op.inputs[0]
    return a.op.type == "Mul" and any(
        one.op.type == "Const" and one.shape.rank > 0 for one in a.op.inputs
    )


def emit(graph: Graph, *, precision: Precision, examples: NDArray[np.float32]) -> bytes:
    """Return ``graph`` as a TFLite file with the signature ``infer``.

    Args:
        graph: Takes ``x[1, ...]``.
        precision: Of the weights; in int8 of activations as well.
        examples: ``[N, ...]``, whose activations set the int8 ranges.
    """
    backend = _Int8Backend() if precision == "int8" else _InferenceBackend()
    functions = {graph.name: traced(backend, graph)}
    with converting(functions) as converter, _quietly():
        if precision == "f32":
            return bytes(converter.convert())
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "f16":
            converter.target_spec.supported_types = [tf.float16]
            return bytes(converter.convert())

        def representative() -> Iterator[list[NDArray[np.float32]]]:
            for example in examples:
                yield [example[np.newaxis]]

        converter.representative_dataset = representative
        return _selective(converter)


def _selective(converter: Any) -> bytes:  # noqa: ANN401 - untyped library
    """Quantize the operators of ``INT8_OPERATORS`` and no others."""
    every = {name for name in vars(schema.BuiltinOperator) if name.isupper()}
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_ops=sorted(every - INT8_OPERATORS)
    )
    with warnings.catch_warnings():
        # the debugger opens the file once on TensorFlow's own, outgoing interpreter
        warnings.simplefilter("ignore")
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=converter.representative_dataset,
            debug_options=options,
        )
    return bytes(debugger.get_nondebug_quantized_model())


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the converter's progress, written past Python, off the terminal."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
