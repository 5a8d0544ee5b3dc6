"""The layers of Keras that have a counterpart here, one function for each class.

A function takes what the configuration says and reads the weights; what Keras can do
and a layer here cannot is a ``CannotError`` with the reason.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from model_zoo.importing.folding import batch_norm
from model_zoo.importing.network import MAX_VALUES, CannotError, Operation, Value

Array = NDArray[np.float32]
Shape = tuple[int, ...]
_LARGEST: Final = 1 << 20

ACTIVATIONS: Final[Mapping[str, str]] = {
    "relu": "relu",
    "relu6": "relu6",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}


@dataclass(frozen=True, slots=True)
class Given:
    """One layer of the configuration.

    Attributes:
        name: As the user called it.
        config: What Keras needs to make it.
        shape: Of the input, without the batch.
        read: Returns a variable, by its path below the layer and its shape.
    """

    name: str
    config: Mapping[str, Any]
    shape: Shape
    read: Callable[[str, Shape], Array]

    def whole(self, key: str, *, default: int | None = None) -> int:
        """Return a positive whole number."""
        value = self.config.get(key, default)
        if type(value) is not int or not 0 < value <= _LARGEST:
            raise CannotError(f"{key} is {value!r:.40}")
        return value

    def number(self, key: str, default: float) -> float:
        """Return a finite number."""
        value = self.config.get(key, default)
        if type(value) not in (int, float) or not abs(value) < 1e9:
            raise CannotError(f"{key} is {value!r:.40}")
        return float(value)

    def only(self, key: str, *allowed: object) -> Any:  # noqa: ANN401 - JSON
        """Return a value that is one of ``allowed``; the first where it is missing."""
        value = self.config.get(key, allowed[0])
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise CannotError(f"{key} is {value!r:.60}")
        return value

    def sizes(self, key: str, count: int, *, default: object = None) -> Shape:
        """Return ``count`` positive numbers, of a list or of one for all."""
        value = self.config.get(key)
        value = default if value is None else value
        sizes = [value] * count if type(value) is int else value
        if (
            not isinstance(sizes, (list, tuple))
            or len(sizes) != count
            or any(type(size) is not int or not 0 < size <= _LARGEST for size in sizes)
        ):
            raise CannotError(f"{key} is {value!r:.60}")
        return tuple(sizes)

    def equal(self, key: str, count: int, *, default: object = None) -> int:
        """Return the one number that all ``count`` of them are."""
        sizes = self.sizes(key, count, default=default)
        if len(set(sizes)) > 1:
            raise CannotError(f"{key} is {list(sizes)}; only equal ones are supported")
        return sizes[0]

    def kernel(self, path: str, *shape: int) -> Array:
        """Read weights of a shape that is first found to be reasonable."""
        if math.prod(shape) > MAX_VALUES:
            raise CannotError(f"{list(shape)} are more than {MAX_VALUES} weights")
        return self.read(path, shape)

    def bias(self, path: str, count: int) -> Array:
        """Read a bias; zeros where the layer has none."""
        if self.only("use_bias", True, False):
            return self.kernel(path, count)
        return np.zeros(count, np.float32)

    def op(
        self,
        kind: str,
        *args: Value,
        weights: tuple[Array, ...] = (),
        **options: Value,
    ) -> Operation:
        """Return an operation of this layer's name."""
        return Operation(kind, args, options, weights, source=self.name)


Made = list[Operation]


def activation(given: Given, name: object) -> Made:
    """Return the layers of an activation; ``softmax`` is left to the ending."""
    if name in ("linear", None):
        return []
    if name == "softmax":
        return [given.op("softmax")]
    if isinstance(name, str) and name in ACTIVATIONS:
        return [given.op(ACTIVATIONS[name])]
    raise CannotError(f"activation {name!r:.60} has no counterpart")


def _dense(given: Given) -> Made:
    if len(given.shape) != 1:
        raise CannotError(f"its input has shape {list(given.shape)}, not one dimension")
    units = given.whole("units")
    weights = (
        given.kernel("vars/0", given.shape[0], units),
        given.bias("vars/1", units),
    )
    return [given.op("dense", units, weights=weights), *_activated(given)]


def _activated(given: Given) -> Made:
    return activation(given, given.config.get("activation"))


def _check_convolution(given: Given, rank: int) -> Literal["same", "valid"]:
    if len(given.shape) != rank + 1:
        raise CannotError(f"its input has shape {list(given.shape)}")
    given.only("data_format", "channels_last")
    if given.sizes("dilation_rate", rank, default=1) != (1,) * rank:
        raise CannotError("dilation_rate is not 1")
    padding: Literal["same", "valid"] = given.only("padding", "valid", "same")
    return padding


def _conv(rank: int) -> Callable[[Given], Made]:
    def made(given: Given) -> Made:
        padding = _check_convolution(given, rank)
        given.only("groups", 1)
        filters = given.whole("filters")
        size = given.sizes("kernel_size", rank)
        stride = given.equal("strides", rank, default=1)
        weights = (
            given.kernel("vars/0", *size, given.shape[-1], filters),
            given.bias("vars/1", filters),
        )
        window: Value = size if rank == 2 else size[0]
        conv = given.op(
            f"conv{rank}d",
            filters,
            window,
            weights=weights,
            stride=stride,
            padding=padding,
        )
        return [conv, *_activated(given)]

    return made


def _depthwise(given: Given) -> Made:
    padding = _check_convolution(given, 2)
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
    return [conv, *_activated(given)]


def _separable(given: Given) -> Made:
    padding = _check_convolution(given, 2)
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
        *_activated(given),
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


def _batch_norm(given: Given) -> Made:
    axis, rank = given.config.get("axis", -1), len(given.shape)
    if axis not in (-1, rank, [-1], [rank]):
        raise CannotError(f"axis {axis!r:.20} is not the last")
    channels, number = given.shape[-1], 0
    parts = []
    for key, missing in (("scale", 1), ("center", 0)):
        if given.only(key, True, False):
            parts.append(given.kernel(f"vars/{number}", channels))
            number += 1
        else:
            parts.append(np.full(channels, missing, np.float32))
    return [
        batch_norm(
            gamma=parts[0],
            beta=parts[1],
            mean=given.kernel(f"vars/{number}", channels),
            variance=given.kernel(f"vars/{number + 1}", channels),
            epsilon=given.number("epsilon", 1e-3),
            source=given.name,
        )
    ]


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
    "Activation": _activated,
    "AveragePooling1D": _pool("average_pool", 1),
    "AveragePooling2D": _pool("average_pool", 2),
    "BatchNormalization": _batch_norm,
    "Conv1D": _conv(1),
    "Conv2D": _conv(2),
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "GlobalAveragePooling1D": _global_average,
    "GlobalAveragePooling2D": _global_average,
    "MaxPooling1D": _pool("max_pool", 1),
    "MaxPooling2D": _pool("max_pool", 2),
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "SeparableConv2D": _separable,
    "Softmax": _softmax,
    "ZeroPadding1D": _zero_padding(1),
    "ZeroPadding2D": _zero_padding(2),
}
"""By class, in alphabetical order."""
