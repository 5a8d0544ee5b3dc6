"""A node of an ``.onnx`` file, as the functions that read one are given it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.importing.network import CannotError, Operation, finite
from model_zoo.importing.onnx_file import OnnxNode, few_wholes
from model_zoo.importing.onnx_layout import Layout

Made = tuple[list[Operation], Layout]
_LARGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Given:
    """A node, the constants of the file, and the layout of its one variable input."""

    node: OnnxNode
    constants: Mapping[str, NDArray[Any]]
    layout: Layout

    def constant(self, place: int) -> NDArray[Any]:
        """Return the constant that is input number ``place``."""
        takes = self.node.takes
        if place >= len(takes) or takes[place] not in self.constants:
            raise CannotError(f"its input {place} is no constant")
        return self.constants[takes[place]]

    def weights(self, place: int) -> NDArray[np.float32]:
        """Return the same as finite float32."""
        return finite(self.constant(place), name=self.node.name)

    def weights_or_zeros(self, place: int, *shape: int) -> NDArray[np.float32]:
        """Return the same, or zeros of ``shape`` where there is no such input."""
        return self.weights(place) if self.has(place) else np.zeros(shape, np.float32)

    def wholes(self, place: int) -> tuple[int, ...]:
        """Return the constant that is input number ``place``: a few whole numbers."""
        value = few_wholes(self.constant(place))
        if value is None:
            raise CannotError(f"its input {place} is not a few whole numbers")
        return value

    def has(self, place: int) -> bool:
        """Tell whether there is an input number ``place``."""
        return place < len(self.node.takes) and bool(self.node.takes[place])

    def whole(self, key: str, default: int) -> int:
        """Return an attribute that is a whole number."""
        value = self.node.attributes.get(key, default)
        if type(value) is not int:
            raise CannotError(f"{key} is {value!r:.40}")
        return value

    def number(self, key: str, default: float) -> float:
        """Return an attribute that is a finite number."""
        value = self.node.attributes.get(key, default)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise CannotError(f"{key} is {value!r:.40}")
        return float(value)

    def sizes(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return an attribute that is as many numbers as ``default``."""
        value = self.node.attributes.get(key, default)
        if (
            not isinstance(value, tuple)
            or len(value) != len(default)
            or any(type(one) is not int or not 0 <= one <= _LARGEST for one in value)
        ):
            raise CannotError(f"{key} is {value!r:.60}")
        return value  # type: ignore[return-value] # checked above

    def equal(self, key: str, default: tuple[int, ...]) -> int:
        """Return the one number that all of them are."""
        sizes = self.sizes(key, default)
        if len(set(sizes)) != 1 or not sizes[0]:
            raise CannotError(f"{key} is {list(sizes)}; only equal ones are supported")
        return sizes[0]

    def only(self, key: str, default: int | str) -> None:
        """Raise ``CannotError`` unless an attribute has its usual value."""
        value = self.node.attributes.get(key, default)
        if value != default:
            raise CannotError(f"{key} is {value!r:.40}")

    def op(self, kind: str, *args: Any, **options: Any) -> Operation:  # noqa: ANN401
        """Return an operation of this node's name; ``weights`` are its own."""
        weights = options.pop("weights", ())
        return Operation(kind, args, options, weights, source=self.node.name)

    def convolution(self) -> tuple[NDArray[np.float32], int]:
        """Return a convolution's kernel, as the file has it, and its stride."""
        self.layout.need_channels_first()
        rank, kernel = len(self.layout.shape) - 1, self.weights(1)
        ones, size = (1,) * rank, kernel.shape[2:]
        if kernel.ndim != rank + 2 or 0 in kernel.shape:
            raise CannotError(f"its kernel is {list(kernel.shape)}")
        if self.sizes("dilations", ones) != ones:
            raise CannotError("dilations are not 1")
        if self.sizes("kernel_shape", size) != size:
            raise CannotError("kernel_shape is not its kernel's")
        return kernel, self.equal("strides", ones)
