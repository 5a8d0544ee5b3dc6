"""One layer of a Keras configuration, every value of it checked when it is read.

What Keras can do and a layer here cannot is a ``CannotError`` with the reason.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

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


def activated(given: Given) -> Made:
    """Return the layers of the configuration's own activation."""
    return activation(given, given.config.get("activation"))


def check_convolution(given: Given, rank: int) -> Literal["same", "valid"]:
    """Return the padding, where everything else is what it is here."""
    if len(given.shape) != rank + 1:
        raise CannotError(f"its input has shape {list(given.shape)}")
    given.only("data_format", "channels_last")
    if given.sizes("dilation_rate", rank, default=1) != (1,) * rank:
        raise CannotError("dilation_rate is not 1")
    padding: Literal["same", "valid"] = given.only("padding", "valid", "same")
    return padding


def convolved(given: Given, rank: int, *, kind: str, turned: bool = False) -> Made:
    """Return a convolution over ``rank`` sides, and its activation.

    The kernel of a ``turned`` one, a transposed convolution, has outputs first.
    """
    padding = check_convolution(given, rank)
    given.only(*(("output_padding", None) if turned else ("groups", 1)))
    filters, channels = given.whole("filters"), given.shape[-1]
    size = given.sizes("kernel_size", rank)
    stride = given.equal("strides", rank, default=1)
    ends = (filters, channels) if turned else (channels, filters)
    weights = given.kernel("vars/0", *size, *ends), given.bias("vars/1", filters)
    window: Value = size if rank == 2 else size[0]
    conv = given.op(
        kind, filters, window, weights=weights, stride=stride, padding=padding
    )
    return [conv, *activated(given)]
