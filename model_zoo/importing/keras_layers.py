"""The layers of Keras that have a counterpart here, one function for each class.

A function takes what the configuration says and reads the weights.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from model_zoo.importing.keras_given import (
    Given,
    Made,
    activated,
    check_convolution,
    convolved,
)
from model_zoo.importing.keras_norms import (
    batch_normalization,
    group_normalization,
    layer_normalization,
)
from model_zoo.importing.keras_resampling import transposed, upsampling
from model_zoo.importing.keras_sequences import embedding, gru
from model_zoo.importing.network import CannotError, Operation


def _dense(given: Given) -> Made:
    if len(given.shape) != 1:
        raise CannotError(f"its input has shape {list(given.shape)}, not one dimension")
    units = given.whole("units")
    weights = (
        given.kernel("vars/0", given.shape[0], units),
        given.bias("vars/1", units),
    )
    return [given.op("dense", units, weights=weights), *activated(given)]


def _conv(rank: int) -> Callable[[Given], Made]:
    return lambda given: convolved(given, rank, kind=f"conv{rank}d")


def _depthwise(given: Given) -> Made:
    padding = check_convolution(given, 2)
    given.only("depth_multiplier", 1)
    size, channels = given.sizes("kernel_size", 2), given.shape[-1]
    stride = given.equal("strides", 2, default=1)
    weights = (
        given.kernel("vars/0", *size, channels, 1)[..., 0],
        given.bias("vars/1", channels),
    )
    conv = given.op(
        "depthwise_conv2d", size, weights=weights, stride=stride, padding=padding
    )
    return [conv, *activated(given)]


def _separable(given: Given) -> Made:
    padding = check_convolution(given, 2)
    given.only("depth_multiplier", 1)
    filters, channels = given.whole("filters"), given.shape[-1]
    size = given.sizes("kernel_size", 2)
    stride = given.equal("strides", 2, default=1)
    deep = (
        given.kernel("vars/0", *size, channels, 1)[..., 0],
        np.zeros(channels, np.float32),
    )
    point = (
        given.kernel("vars/1", 1, 1, channels, filters),
        given.bias("vars/2", filters),
    )
    return [
        given.op(
            "depthwise_conv2d", size, weights=deep, stride=stride, padding=padding
        ),
        given.op("conv2d", filters, (1, 1), weights=point),
        *activated(given),
    ]


def _pool(kind: str, rank: int) -> Callable[[Given], Made]:
    def made(given: Given) -> Made:
        given.only("data_format", "channels_last")
        if len(given.shape) != rank + 1:
            raise CannotError(f"its input has shape {list(given.shape)}")
        size = given.equal("pool_size", rank)
        if given.equal("strides", rank, default=size) != size:
            raise CannotError("its windows overlap: strides are not pool_size")
        padding = given.only("padding", "valid", "same")
        if padding == "same" and any(side % size for side in given.shape[:-1]):
            raise CannotError(f"padding same, and {size} does not divide its input")
        return [given.op(kind, size)]

    return made


def _global_average(given: Given) -> Made:
    given.only("data_format", "channels_last")
    given.only("keepdims", False)
    return [given.op("global_average_pool")]


def _flatten(given: Given) -> Made:
    return [given.op("flatten")] if len(given.shape) > 1 else []


def _relu(given: Given) -> Made:
    for key in ("negative_slope", "threshold"):
        if given.number(key, 0.0):
            raise CannotError(f"{key} is not 0")
    most = given.config.get("max_value")
    if most is None:
        return [given.op("relu")]
    if given.number("max_value", 6.0) == 6.0:
        return [given.op("relu6")]
    raise CannotError(f"max_value is {most!r:.20}, not 6")


def _softmax(given: Given) -> Made:
    given.only("axis", -1)
    return [given.op("softmax")]


def _dropout(given: Given) -> Made:
    given.only("noise_shape", None)
    rate = given.number("rate", 0.5)
    if not 0 <= rate < 1:
        raise CannotError(f"rate is {rate}")
    return [given.op("dropout", rate)] if rate else []


def _rescaling(given: Given) -> Made:
    factor, offset = given.number("scale", 1.0), given.number("offset", 0.0)
    if not offset:
        return [given.op("scale", factor)]
    channels = given.shape[-1]
    weights = tuple(np.full(channels, v, np.float32) for v in (factor, offset))
    return [Operation("affine", weights=weights, frozen=True, source=given.name)]


def _zero_padding(rank: int) -> Callable[[Given], Made]:
    def made(given: Given) -> Made:
        given.only("data_format", "channels_last")
        value = given.config.get("padding")
        sides = [value] if rank == 1 else value
        if (
            len(given.shape) != rank + 1
            or not isinstance(sides, list)
            or len(sides) != rank
            or any(
                not isinstance(side, list)
                or len(side) != 2
                or any(type(n) is not int or not 0 <= n <= 1024 for n in side)
                for side in sides
            )
        ):
            raise CannotError(f"padding is {value!r:.60}")
        return [given.op("zero_pad", *(tuple(side) for side in sides))]

    return made


MAKERS: Final[Mapping[str, Callable[[Given], Made]]] = {
    "Activation": activated,
    "AveragePooling1D": _pool("average_pool", 1),
    "AveragePooling2D": _pool("average_pool", 2),
    "BatchNormalization": batch_normalization,
    "Conv1D": _conv(1),
    "Conv1DTranspose": transposed(1),
    "Conv2D": _conv(2),
    "Conv2DTranspose": transposed(2),
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _dropout,
    "Embedding": embedding,
    "Flatten": _flatten,
    "GRU": gru,
    "GlobalAveragePooling1D": _global_average,
    "GlobalAveragePooling2D": _global_average,
    "GroupNormalization": group_normalization,
    "LayerNormalization": layer_normalization,
    "MaxPooling1D": _pool("max_pool", 1),
    "MaxPooling2D": _pool("max_pool", 2),
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "SeparableConv2D": _separable,
    "Softmax": _softmax,
    "UpSampling1D": upsampling(1),
    "UpSampling2D": upsampling(2),
    "ZeroPadding1D": _zero_padding(1),
    "ZeroPadding2D": _zero_padding(2),
}
"""By class, in alphabetical order."""
