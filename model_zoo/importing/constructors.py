"""Which module has which layer, and the layer of an operation."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Final

from model_zoo.importing.network import ENDINGS, CannotError, Operation
from model_zoo.layers import Layer, frozen
from wire_protocol.errors import EdgefedError

MODULES: Final[Mapping[str, str]] = {
    "affine": "model_zoo.affine",
    "average_pool": "model_zoo.pools",
    "conv1d": "model_zoo.convolutions",
    "conv1d_transpose": "model_zoo.resampling",
    "conv2d": "model_zoo.convolutions",
    "conv2d_transpose": "model_zoo.resampling",
    "dense": "model_zoo.layers",
    "depthwise_conv2d": "model_zoo.depthwise",
    "dropout": "model_zoo.dropout",
    "embedding": "model_zoo.embedding",
    "flatten": "model_zoo.layers",
    "global_average_pool": "model_zoo.pools",
    "group_norm": "model_zoo.norms",
    "gru": "model_zoo.recurrent",
    "layer_norm": "model_zoo.norms",
    "max_pool": "model_zoo.pools",
    "relu": "model_zoo.layers",
    "relu6": "model_zoo.activations",
    "residual": "model_zoo.residual",
    "scale": "model_zoo.layers",
    "sigmoid": "model_zoo.activations",
    "tanh": "model_zoo.activations",
    "upsample": "model_zoo.resampling",
    "zero_pad": "model_zoo.padding",
}


def layer_of(operation: Operation) -> Layer:
    """Return the layer that an operation stands for."""
    function = getattr(importlib.import_module(MODULES[operation.kind]), operation.kind)
    inner = [layer_of(one) for one in operation.inner]
    layer: Layer = function(*operation.args, *inner, **operation.options)
    return frozen(layer) if operation.frozen else layer


def shape_after(
    operations: Sequence[Operation], shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the shape that comes out of the operations.

    Raises:
        CannotError: It does not go in, or weights are not of the layer's shapes.
    """
    for operation in operations:
        if operation.kind in ENDINGS:
            continue
        if operation.kind not in MODULES:
            raise CannotError(f"there is no layer {operation.kind} here")
        try:
            layer = layer_of(operation)
            specs = layer.specs(shape)
            out = layer.output_shape(shape)
        except EdgefedError as error:
            raise CannotError(error.problem) from error
        wanted = [spec.shape for spec in specs]
        come = [array.shape for array in operation.all_weights()]
        if wanted != come:
            raise CannotError(f"has weights {come}, not {wanted}")
        shape = out
    return shape
