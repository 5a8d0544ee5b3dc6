"""Inference as ONNX: float32, or int8 with float32 at both ends.

The only importer of ``onnxruntime.quantization``, with ``onnx`` beneath it. In int8
are convolutions and matrix products, as QuantizeLinear and DequantizeLinear around
standard operators. Weights are symmetric, one step a channel, and take 7 of 8 bits:
processors without VNNI add pairs of products in 16 bits, and 8-bit weights overflow
there without a word (docs/quantize.md).
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

INT8_OPERATORS: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class _Examples(CalibrationDataReader):  # type: ignore[misc]
    """Hands out one example at a time."""

    def __init__(self, examples: NDArray[np.float32]) -> None:
        self._left: Iterator[NDArray[np.float32]] = iter(examples)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        example = next(self._left, None)
        return None if example is None else {"x": example[np.newaxis]}


def in_int8(model: bytes, *, examples: NDArray[np.float32]) -> bytes:
    """Quantize a float32 inference file.

    Args:
        model: Takes ``x[1, ...]``; its parameters are constants.
        examples: ``[N, ...]``, whose activations set the ranges.
    """
    with tempfile.TemporaryDirectory() as folder, _quietly():
        target = Path(folder) / "int8.onnx"
        quantize_static(
            onnx.load_from_string(model),
            str(target),
            _Examples(examples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(INT8_OPERATORS),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        return target.read_bytes()


@contextmanager
def _quietly() -> Iterator[None]:
    """Leave out the advice to optimise first: the graph comes folded already."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
