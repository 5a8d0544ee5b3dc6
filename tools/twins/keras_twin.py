"""The Keras twin, stepped as ``train_on_batch`` and as one ``tf.function``.

Run inside ``.venv-peer``. Keras and the zoo lay out alike: NHWC, HWIO, ``[in, out]``.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import tensorflow as tf
from keras import layers

from model_zoo.dropout import WORDS
from model_zoo.model import Model
from tools.twins.plan import KINDS, Part, parts
from wire_protocol.params import Vector
from wire_protocol.selftest import Batch

Make = Callable[[Part], Any]


@keras.saving.register_keras_serializable("edgefed")
class Standardize(layers.Layer):  # type: ignore[misc]
    """``(x - mean) * scale`` with frozen parameters."""

    def build(self, shape: Any) -> None:  # noqa: ANN401
        """Make the parameters."""
        channels = (shape[-1],)
        self.mean = self.add_weight(shape=channels, trainable=False)
        self.factor = self.add_weight(shape=channels, trainable=False)

    def call(self, x: Any) -> Any:  # noqa: ANN401
        """Standardise."""
        return (x - self.mean) * self.factor


class Step:
    """A training step of the twin: Keras's own, or a function of TensorFlow."""

    def __init__(self, model: Model, params: Vector, *, own: bool) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        plan = list(parts(model, params))
        self._model, self._own = model, own
        self._net = keras.Sequential([keras.Input(model.input_shape)])
        self._prefix = keras.Sequential([keras.Input(model.input_shape)])
        for number, part in enumerate(plan):
            for layer in _made(part):
                layer.trainable = part.trainable
                self._net.add(layer)
                if number < model.target_after:
                    self._prefix.add(layer)
        tensors = [tensor for part in plan for tensor in _theirs(part)]
        self._net.set_weights(tensors)
        self.parameters = self._net.count_params()
        self._loss = _soft(model.softness) if model.softness else _LOSSES[model.task]()
        rate, momentum = model.plan.learning_rate, model.plan.momentum
        self._optimizer = (
            keras.optimizers.Adam(rate, momentum, 0.999, epsilon=1e-7)
            if model.optimizer == "adam"
            else keras.optimizers.SGD(rate, momentum)
        )
        if own:
            self._net.compile(self._optimizer, self._loss, jit_compile=False)
        self._function = tf.function(self._step)

    def laid_out(self, batch: Batch) -> Any:  # noqa: ANN401 - TensorFlow's own
        """Return a batch as the step takes it."""
        x = tf.constant(batch.x)
        if self._model.task == "reconstruction":
            return x, self._prefix(x) if self._model.target_after else x
        return x, tf.constant(batch.y)

    def loss(self, laid: Any) -> float:  # noqa: ANN401
        """Return the mean loss of a batch, nothing dropped out."""
        x, y = laid
        return float(self._loss(y, self._net(x, training=False)))

    def __call__(self, laid: Any) -> float:  # noqa: ANN401
        """Take a step; return the loss before it."""
        if self._own:
            return float(np.asarray(self._net.train_on_batch(*laid)))
        return float(self._function(*laid))

    def _step(self, x: Any, y: Any) -> Any:  # noqa: ANN401
        with tf.GradientTape() as tape:
            loss = self._loss(y, self._net(x, training=True))
        variables = self._net.trainable_variables
        gradients = tape.gradient(loss, variables)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss


def _soft(softness: float) -> Callable[[Any, Any], Any]:
    def loss(y: Any, outputs: Any) -> Any:  # noqa: ANN401
        size = tf.sqrt((outputs - y) ** 2 + softness**2)
        return tf.reduce_mean(size - softness)

    return loss


_LOSSES: Final[Mapping[str, Callable[[], Any]]] = {
    "classification": lambda: keras.losses.SparseCategoricalCrossentropy(True),
    "binary": lambda: keras.losses.BinaryCrossentropy(True),
    "regression": keras.losses.MeanSquaredError,
    "reconstruction": keras.losses.MeanSquaredError,
}


def _conv(part: Part) -> Any:  # noqa: ANN401
    kind = layers.Conv1D if len(part.before) == 2 else layers.Conv2D
    size = part.settings["size"]
    stride, padding = part.settings["stride"], part.settings["padding"]
    return kind(part.after[-1], size, strides=stride, padding=padding)


def _depthwise(part: Part) -> Any:  # noqa: ANN401
    stride, padding = part.settings["stride"], part.settings["padding"]
    return layers.DepthwiseConv2D(
        part.settings["size"], strides=stride, padding=padding
    )


def _pool(part: Part, flat: Any, deep: Any) -> Any:  # noqa: ANN401
    return (flat if len(part.before) == 2 else deep)(part.settings["size"])


def _mean(part: Part) -> Any:  # noqa: ANN401
    flat = len(part.before) == 2
    return (layers.GlobalAveragePooling1D if flat else layers.GlobalAveragePooling2D)()


LAYERS: Final[Mapping[str, Make]] = {
    "dense": lambda part: layers.Dense(*part.after),
    "relu": lambda _: layers.ReLU(),
    "relu6": lambda _: layers.ReLU(6.0),
    "tanh": lambda _: layers.Activation("tanh"),
    "sigmoid": lambda _: layers.Activation("sigmoid"),
    "scale": lambda part: layers.Rescaling(
        np.asarray(part.settings["factors"], np.float32)
    ),
    "standardize": lambda _: Standardize(),
    "flatten": lambda _: layers.Flatten(),
    "reshape": lambda part: layers.Reshape(part.after),
    "dropout": lambda part: layers.Dropout(part.settings["dropped"] / WORDS),
    "embedding": lambda part: layers.Embedding(*part.tensors[0].shape),
    "conv1d": _conv,
    "conv2d": _conv,
    "depthwise_conv2d": _depthwise,
    "group_norm": lambda part: layers.GroupNormalization(
        part.settings["groups"], epsilon=1e-5
    ),
    "max_pool": lambda part: _pool(part, layers.MaxPool1D, layers.MaxPool2D),
    "average_pool": lambda part: _pool(
        part, layers.AveragePooling1D, layers.AveragePooling2D
    ),
    "global_average_pool": _mean,
    "gru": lambda part: layers.GRU(
        part.settings["units"], return_sequences=part.settings["sequences"]
    ),
}
assert set(LAYERS) == KINDS


def _made(part: Part) -> list[Any]:
    return [LAYERS[part.kind](part)]


def _theirs(part: Part) -> list[Vector]:
    if part.kind == "depthwise_conv2d":
        kernel, bias = part.tensors
        return [kernel[..., np.newaxis], bias]
    return list(part.tensors)
