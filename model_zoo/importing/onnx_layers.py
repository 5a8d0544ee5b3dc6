"""The operators of ONNX that have a counterpart here, one function for each.

Exports of PyTorch (channels first) and of TensorFlow (transposed around convolutions)
are meant; what an operator can do and a layer cannot is a ``CannotError``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.importing.network import CannotError, Operation
from model_zoo.importing.onnx_given import Given, Made
from model_zoo.importing.onnx_layout import Layout
from model_zoo.importing.onnx_norms import (
    batch_normalization,
    group_normalization,
    layer_normalization,
)
from model_zoo.importing.onnx_resampling import conv_transpose, resize
from model_zoo.importing.onnx_sequences import gather, gru
from model_zoo.windows import Span


def _unchanged(given: Given) -> Made:
    return [], given.layout


def _simple(kind: str) -> Callable[[Given], Made]:
    return lambda given: ([given.op(kind)], given.layout)


def _clip(given: Given) -> Made:
    bounds = [
        float(given.constant(place).reshape(-1)[0])
        if given.has(place) and given.constant(place).size == 1
        else given.number(key, math.copysign(1e38, place - 1.5))
        for place, key in ((1, "min"), (2, "max"))
    ]
    if bounds != [0.0, 6.0]:
        raise CannotError(f"it clips to {bounds}, not to 0 and 6")
    return [given.op("relu6")], given.layout


def _softmax(kind: str) -> Callable[[Given], Made]:
    def made(given: Given) -> Made:
        if len(given.layout.shape) != 1 or given.whole("axis", -1) not in (-1, 1):
            raise CannotError("it is not over the outputs")
        return [given.op(kind)], given.layout

    return made


def _conv(given: Given) -> Made:
    kernel, stride = given.convolution()
    outputs, _, *size = kernel.shape
    rank, channels = len(size), given.layout.shape[-1]
    group, bias = given.whole("group", 1), given.weights_or_zeros(2, outputs)
    before, padding = _padding(given, tuple(size), stride=stride)
    options = {"stride": stride, "padding": padding}
    if group == 1:
        order = (*range(2, rank + 2), 1, 0)
        weights = (np.ascontiguousarray(kernel.transpose(order)), bias)
        window: Any = tuple(size) if rank == 2 else size[0]
        conv = given.op(f"conv{rank}d", outputs, window, weights=weights, **options)
    elif group == channels == outputs and rank == 2 and kernel.shape[1] == 1:
        weights = (np.ascontiguousarray(kernel[:, 0].transpose(1, 2, 0)), bias)
        conv = given.op("depthwise_conv2d", tuple(size), weights=weights, **options)
    else:
        raise CannotError(f"it has {group} groups for {channels} channels")
    return [*before, conv], given.layout


def _padding(
    given: Given, size: tuple[int, ...], *, stride: int
) -> tuple[list[Operation], str]:
    """Return what pads before, if anything must, and the padding of the layer."""
    rank = len(size)
    automatic = given.node.attributes.get("auto_pad", "NOTSET")
    if automatic in ("VALID", "SAME_UPPER"):
        return [], "valid" if automatic == "VALID" else "same"
    if automatic != "NOTSET":
        raise CannotError(f"auto_pad is {automatic!r:.20}")
    pads = given.sizes("pads", (0,) * (2 * rank))
    if not any(pads):
        return [], "valid"
    around = tuple(zip(pads[:rank], pads[rank:], strict=True))
    spans = [
        Span.over(side, window=window, stride=stride, padding="same")
        for side, window in zip(given.layout.shape[:-1], size, strict=True)
    ]
    if all((s.before, s.after) == pad for s, pad in zip(spans, around, strict=True)):
        return [], "same"
    return [given.op("zero_pad", *around)], "valid"


def _pool(kind: str) -> Callable[[Given], Made]:
    def made(given: Given) -> Made:
        given.layout.need_channels_first()
        rank = len(given.layout.shape) - 1
        size = given.equal("kernel_shape", (0,) * rank)
        if given.equal("strides", (1,) * rank) != size:
            raise CannotError("its windows overlap: strides are not kernel_shape")
        for key in ("ceil_mode", "storage_order"):
            given.only(key, 0)
        if given.sizes("dilations", (1,) * rank) != (1,) * rank:
            raise CannotError("dilations are not 1")
        before, padding = _padding(given, (size,) * rank, stride=size)
        fits = all(side % size == 0 for side in given.layout.shape[:-1])
        if before or (padding == "same" and not fits):
            raise CannotError("it pads")
        return [given.op(kind, size)], given.layout

    return made


def _global_average(given: Given) -> Made:
    given.layout.need_channels_first()
    layout = Layout(given.layout.shape[-1:], ())
    return [given.op("global_average_pool")], layout


def _reduce_mean(given: Given) -> Made:
    layout, keep = given.layout, given.whole("keepdims", 1)
    found = given.node.attributes.get("axes", ())
    given_axes = given.wholes(1) if given.has(1) else found
    axes = given_axes if isinstance(given_axes, tuple) else ()
    rank = len(layout.axes)
    if rank < 2 or not axes:
        raise CannotError("it is no mean over an image or a signal")
    places = {axis % (rank + 1) for axis in axes if isinstance(axis, int)}
    if {0} & places or {layout.axes[p - 1] for p in places} != set(range(rank - 1)):
        raise CannotError(f"it is a mean over axes {list(axes)}, not over all places")
    axes_after = () if keep else (0,)
    return [given.op("global_average_pool")], Layout(layout.shape[-1:], axes_after)


def _flatten(given: Given) -> Made:
    if given.whole("axis", 1) != 1:
        raise CannotError("it does not keep the batch alone")
    return _flat(given)


def _flat(given: Given) -> Made:
    layout = given.layout.flattened()
    made = [given.op("flatten")] if len(given.layout.shape) > 1 else []
    return made, layout


def _reshape(given: Given) -> Made:
    target = given.wholes(1)
    if len(target) != 2 or target[1] not in (-1, math.prod(given.layout.shape)):
        raise CannotError(f"it reshapes to {list(target)}, and does not flatten")
    return _flat(given)


def _squeeze(given: Given) -> Made:
    if given.layout.axes:
        raise CannotError("it does not follow a global pool")
    return [], replace(given.layout, axes=(0,))


def _transpose(given: Given) -> Made:
    if not given.layout.axes:
        raise CannotError("it turns what has one side alone")
    order = given.sizes("perm", tuple(range(len(given.layout.axes) + 1)))
    return [], given.layout.transposed(order)


def _dense(given: Given, kernel: NDArray[np.float32], bias: Any) -> Made:  # noqa: ANN401
    layout = given.layout
    if layout.axes != (0,):
        raise CannotError(f"its input is {layout.shape}, not one dimension")
    if kernel.ndim != 2 or kernel.shape[0] != layout.shape[0] or not kernel.shape[1]:
        raise CannotError(f"its kernel is {list(kernel.shape)}")
    outputs = kernel.shape[1]
    values = np.zeros(outputs, np.float32) if bias is None else bias.reshape(-1)
    if values.size == 1:
        values = np.full(outputs, values[0], np.float32)
    weights = (np.ascontiguousarray(layout.ours(kernel)), values)
    return [given.op("dense", outputs, weights=weights)], Layout.same((outputs,))


def _gemm(given: Given) -> Made:
    given.only("transA", 0)
    if (given.number("alpha", 1.0), given.number("beta", 1.0)) != (1.0, 1.0):
        raise CannotError("alpha or beta is not 1")
    kernel = given.weights(1)
    kernel = kernel.T if given.whole("transB", 0) else kernel
    return _dense(given, kernel, given.weights(2) if given.has(2) else None)


def _matmul(given: Given) -> Made:
    return _dense(given, given.weights(1), None)


def _arithmetic(kind: str) -> Callable[[Given], Made]:
    def made(given: Given) -> Made:
        takes = given.node.takes[:2]
        place = next((i for i, one in enumerate(takes) if one in given.constants), 2)
        if place == 0 and kind in ("Sub", "Div"):
            raise CannotError("the constant is on its left")
        value = given.layout.by_channel(given.weights(place)).astype(np.float64)
        one, zero = np.ones(len(value)), np.zeros(len(value))
        if kind == "Div" and not value.all():
            raise CannotError("it divides by 0")
        match kind:
            case "Add":
                scale, offset = one, value
            case "Sub":
                scale, offset = one, -value
            case "Mul":
                scale, offset = value, zero
            case _:
                scale, offset = 1 / value, zero
        weights = (scale.astype(np.float32), offset.astype(np.float32))
        return [given.op("affine", weights=weights)], given.layout

    return made


MAKERS: Final[Mapping[str, Callable[[Given], Made]]] = {
    **{kind: _arithmetic(kind) for kind in ("Add", "Div", "Mul", "Sub")},
    "AveragePool": _pool("average_pool"),
    "BatchNormalization": batch_normalization,
    "Clip": _clip,
    "Conv": _conv,
    "ConvTranspose": conv_transpose,
    "Dropout": _unchanged,
    "Flatten": _flatten,
    "GRU": gru,
    "Gather": gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "GroupNormalization": group_normalization,
    "Identity": _unchanged,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": _softmax("log_softmax"),
    "MatMul": _matmul,
    "MaxPool": _pool("max_pool"),
    "ReduceMean": _reduce_mean,
    "Relu": _simple("relu"),
    "Reshape": _reshape,
    "Resize": resize,
    "Sigmoid": _simple("sigmoid"),
    "Softmax": _softmax("softmax"),
    "Squeeze": _squeeze,
    "Tanh": _simple("tanh"),
    "Transpose": _transpose,
}
"""By operator."""
IMAGES: Final = frozenset(
    [
        *("AveragePool", "BatchNormalization", "Conv", "ConvTranspose"),
        *("GlobalAveragePool", "GroupNormalization", "MaxPool", "Resize"),
    ]
)
"""Operators that want the channels first."""
