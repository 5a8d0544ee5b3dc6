"""What a twin is built from: each layer's kind, settings, and shapes. Pure.

A layer of the zoo is a record of functions; what it was made with is in their closures.
A twin that got a setting wrong would not give the same losses, and that is checked.

>>> from model_zoo.convolutions import conv1d
>>> settings(conv1d(8, 5))["size"]
5
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from model_zoo.backend import Shape
from model_zoo.layers import Layer
from model_zoo.model import Model
from model_zoo.windows import Padding, Span
from wire_protocol.params import Vector

KINDS: Final = frozenset(
    [
        *("dense", "relu", "relu6", "tanh", "sigmoid", "scale", "standardize"),
        *("flatten", "conv1d", "conv2d", "depthwise_conv2d", "group_norm"),
        *("max_pool", "average_pool", "global_average_pool", "gru", "reshape"),
        *("dropout", "embedding"),
    ]
)
"""Kinds of layers that every twin knows; those of the zoo's models are among them."""


@dataclass(frozen=True, slots=True)
class Part:
    """One layer of the model, as a twin needs it.

    Attributes:
        kind: As in the names of parameters.
        settings: What the layer was made with.
        before: Shape of an example that goes in, without the batch.
        after: Shape of what comes out.
        tensors: Its parameters, as the zoo lays them out.
        trainable: Whether the step changes them.
    """

    kind: str
    settings: dict[str, Any]
    before: Shape
    after: Shape
    tensors: tuple[Vector, ...]
    trainable: bool

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Zeros before and after along each side that windows slide over."""
        size = self.settings["size"]
        sizes = size if isinstance(size, tuple) else (size,)
        stride: int = self.settings["stride"]
        padding: Padding = self.settings["padding"]
        spans = [
            Span.over(length, window=window, stride=stride, padding=padding)
            for length, window in zip(self.before[:-1], sizes, strict=True)
        ]
        return tuple((span.before, max(span.after, 0)) for span in spans)


def parts(model: Model, params: Vector) -> Iterator[Part]:
    """Yield the model's layers with their share of ``params``, shape ``[size]``."""
    left = model.layout.split(params)
    shape = model.input_shape
    for layer in model.layers:
        specs = layer.specs(shape)
        mine, left = tuple(left[: len(specs)]), left[len(specs) :]
        after = layer.output_shape(shape)
        yield Part(
            layer.kind,
            settings(layer),
            shape,
            after,
            mine,
            all(spec.trainable for spec in specs),
        )
        shape = after


def settings(layer: Layer) -> dict[str, Any]:
    """Return the arguments a layer was made with, by name."""
    found: dict[str, Any] = {}
    for function in (layer.specs, layer.output_shape, layer.apply):
        if inspect.isfunction(function):
            found.update(inspect.getclosurevars(function).nonlocals)
    if "strides" in found:
        found["stride"] = found["strides"][-1]
    return found
