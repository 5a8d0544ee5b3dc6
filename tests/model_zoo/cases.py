"""A small model for every kind of layer, and batches to train it with."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.activations import relu6, sigmoid, tanh
from model_zoo.affine import affine
from model_zoo.backend import Shape
from model_zoo.convolutions import conv1d, conv2d
from model_zoo.depthwise import depthwise_conv2d
from model_zoo.dropout import dropout
from model_zoo.embedding import embedding
from model_zoo.layers import (
    Layer,
    dense,
    flatten,
    frozen,
    personal,
    relu,
    scale,
    standardize,
)
from model_zoo.model import Model, PlanDefaults
from model_zoo.norms import group_norm, layer_norm
from model_zoo.padding import zero_pad
from model_zoo.pools import average_pool, global_average_pool, max_pool
from model_zoo.recurrent import gru
from model_zoo.resampling import conv1d_transpose, conv2d_transpose, upsample
from model_zoo.reshaping import reshape
from model_zoo.residual import residual
from wire_protocol.selftest import Batch, Targets

BATCH: Final = 4
CLASSES: Final = 3
IMAGE: Final = (7, 6, 4)
SIGNAL: Final = (9, 4)

_PROJECTION: Final = conv1d(3, 1, stride=2)
_LAYERS: Final[dict[str, tuple[Shape, tuple[Layer, ...]]]] = {
    "dense": ((5,), ()),
    "relu": ((5,), (dense(6), relu())),
    "frozen": ((5,), (frozen(dense(6)), relu())),
    "personal": ((5,), (dense(6), relu(), personal(dense(4)), relu())),
    "standardize": (SIGNAL, (conv1d(4, 1), standardize(), flatten())),
    "reshape": (
        SIGNAL,
        (conv1d(4, 1), reshape(6, 6, 1), conv2d(2, (2, 2)), flatten()),
    ),
    "scale": (IMAGE, (conv2d(2, (1, 1)), scale(0.5, -2.0), flatten())),
    "conv2d_same": (IMAGE, (scale(2.0), conv2d(5, (3, 2)), flatten())),
    "conv2d_valid": (IMAGE, (conv2d(5, (3, 2), padding="valid"), flatten())),
    "conv2d_same_stride": (
        IMAGE,
        (conv2d(4, (1, 1)), conv2d(5, (3, 3), stride=2), flatten()),
    ),
    "conv2d_valid_stride": (
        IMAGE,
        (conv2d(4, (1, 1)), conv2d(5, (2, 3), stride=2, padding="valid"), flatten()),
    ),
    "conv2d_cut": (IMAGE, (conv2d(4, (1, 1)), conv2d(5, (1, 1), stride=2), flatten())),
    "conv1d_same": (SIGNAL, (conv1d(4, 1), conv1d(5, 4), flatten())),
    "conv1d_valid_stride": (
        SIGNAL,
        (conv1d(4, 1), conv1d(5, 4, stride=2, padding="valid"), flatten()),
    ),
    "max_pool_image": (IMAGE, (conv2d(4, (1, 1)), max_pool(2), flatten())),
    "max_pool_signal": (SIGNAL, (conv1d(4, 1), max_pool(2), flatten())),
    "average_pool_image": (IMAGE, (conv2d(4, (1, 1)), average_pool(3), flatten())),
    "average_pool_signal": (SIGNAL, (conv1d(4, 1), average_pool(2), flatten())),
    "group_norm_image": (IMAGE, (conv2d(4, (1, 1)), group_norm(2), flatten())),
    "group_norm_signal": (SIGNAL, (conv1d(4, 1), group_norm(4), relu(), flatten())),
    "depthwise_same": (
        IMAGE,
        (conv2d(4, (1, 1)), depthwise_conv2d((3, 2)), flatten()),
    ),
    "depthwise_same_stride": (
        IMAGE,
        (conv2d(4, (1, 1)), depthwise_conv2d((3, 3), stride=2), flatten()),
    ),
    "depthwise_valid_stride": (
        IMAGE,
        (
            conv2d(4, (1, 1)),
            depthwise_conv2d((2, 3), stride=2, padding="valid"),
            flatten(),
        ),
    ),
    "depthwise_cut": (
        IMAGE,
        (conv2d(4, (1, 1)), depthwise_conv2d((1, 1), stride=3), flatten()),
    ),
    "relu6": ((5,), (dense(6), scale(8.0), relu6())),
    "tanh": ((5,), (dense(6), tanh())),
    "sigmoid": ((5,), (dense(6), sigmoid())),
    "dropout": ((5,), (dense(6), dropout(0.25))),
    "layer_norm_image": (IMAGE, (conv2d(4, (1, 1)), layer_norm(), flatten())),
    "layer_norm_flat": ((5,), (dense(6), layer_norm(epsilon=1e-3), relu())),
    "residual": (
        SIGNAL,
        (
            residual(conv1d(4, 3), relu(), conv1d(4, 3)),
            personal(residual(conv1d(3, 3, stride=2), projection=_PROJECTION)),
            flatten(),
        ),
    ),
    "upsample_image": ((3, 2, 4), (conv2d(2, (1, 1)), upsample(2), flatten())),
    "upsample_signal": ((4, 3), (conv1d(4, 1), upsample(3), flatten())),
    "conv2d_transpose_same": (
        (3, 4, 2),
        (conv2d(3, (1, 1)), conv2d_transpose(4, (3, 3), stride=2), flatten()),
    ),
    "conv2d_transpose_valid": (
        (3, 4, 2),
        (
            conv2d(3, (1, 1)),
            conv2d_transpose(4, (3, 1), stride=2, padding="valid"),
            flatten(),
        ),
    ),
    "conv1d_transpose_same": (
        (4, 3),
        (conv1d(4, 1), conv1d_transpose(2, 4, stride=2), flatten()),
    ),
    "conv1d_transpose_valid": (
        (4, 3),
        (conv1d(4, 1), conv1d_transpose(2, 2, stride=3, padding="valid"), flatten()),
    ),
    "gru": ((4, 3), (gru(5),)),
    "gru_sequences": ((3, 3), (conv1d(3, 1), gru(5, sequences=True), gru(4))),
    "affine": (SIGNAL, (conv1d(4, 1), affine(), flatten())),
    "zero_pad_image": (IMAGE, (conv2d(2, (1, 1)), zero_pad((1, 0), (0, 2)), flatten())),
    "zero_pad_signal": (SIGNAL, (conv1d(4, 1), zero_pad((2, 1)), flatten())),
    "global_average_pool": (IMAGE, (conv2d(5, (2, 2)), global_average_pool())),
}


PLAN: Final = PlanDefaults(rounds=1, epochs=1, learning_rate=0.1, momentum=0.9)


def _model(name: str, shape: Shape, *, layers: tuple[Layer, ...]) -> Model:
    return Model(
        name=name,
        data="none",
        input_shape=shape,
        outputs=CLASSES,
        batch=BATCH,
        layers=(*layers, dense(CLASSES)),
        plan=PLAN,
    )


_REGRESSION: Final = replace(
    _model("regression", (5,), layers=(dense(6), relu())), task="regression"
)
_TASKS: Final = {
    "regression": _REGRESSION,
    "softness": replace(_REGRESSION, softness=0.25),
    "binary": replace(_REGRESSION, task="binary"),
    "reconstruction": replace(
        _REGRESSION,
        input_shape=SIGNAL,
        outputs=SIGNAL[0] * SIGNAL[1],
        layers=(standardize(), conv1d(3, 3), relu(), conv1d(SIGNAL[1], 3)),
        task="reconstruction",
        target_after=1,
    ),
    "embedding": replace(
        _model("embedding", (4,), layers=(embedding(5, 3), flatten())), tokens=5
    ),
    "adam": replace(_model("adam", (5,), layers=(dense(6), relu())), optimizer="adam"),
}

CASES: Final = {
    **{
        name: _model(name, shape, layers=layers)
        for name, (shape, layers) in _LAYERS.items()
    },
    **_TASKS,
}


def params_of(model: Model, *, seed: int) -> list[NDArray[np.float32]]:
    """Draw parameters, every one of them away from zero."""
    rng = np.random.default_rng(seed)
    return [
        (rng.standard_normal(spec.shape) * 0.5 + 0.1).astype(np.float32)
        for spec in model.layout.specs
    ]


def batches_of(model: Model, *, seed: int, steps: int = 1) -> Iterator[Batch]:
    """Draw batches; weights are any, not just 0 and 1."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        x = rng.standard_normal((model.batch, *model.input_shape))
        if model.tokens:
            x = np.floor(rng.uniform(0, model.tokens, x.shape))
        yield Batch(
            x.astype(np.float32),
            _targets(model, rng),
            rng.uniform(0.1, 2.0, model.batch).astype(np.float32),
        )


def _targets(model: Model, rng: np.random.Generator) -> Targets:
    match model.task:
        case "classification":
            return rng.integers(0, model.outputs, model.batch).astype(np.int32)
        case "reconstruction":
            return np.zeros((model.batch, 0), np.float32)
        case _:
            return rng.uniform(0, 1, (model.batch, model.outputs)).astype(np.float32)


def distance(mine: list[NDArray[Any]], theirs: list[NDArray[Any]]) -> float:
    """Return the greatest difference of any two values."""
    pairs = zip(mine, theirs, strict=True)
    return max(float(np.max(np.abs(a - b))) for a, b in pairs)
