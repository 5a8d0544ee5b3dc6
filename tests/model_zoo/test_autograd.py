"""The hand-written gradients against Keras layers and TensorFlow's autodiff."""

from collections.abc import Callable
from typing import Any

import pytest

from model_zoo import tflite_backend
from model_zoo.model import Model
from model_zoo.runners import oracle
from model_zoo.stepping import Settings, train
from tests.model_zoo.cases import CASES, batches_of, distance, params_of

pytestmark = pytest.mark.slow

tf: Any = vars(tflite_backend)["tf"]
layers = tf.keras.layers


class Residual(layers.Layer):  # type: ignore[misc, name-defined]
    """Two convolutions, and the input added."""

    def build(self, _shape: Any) -> None:
        self.first = layers.Conv1D(4, 3, padding="same", activation="relu")
        self.second = layers.Conv1D(4, 3, padding="same")
        for inner in (self.first, self.second):
            inner.build((None, None, 4))

    def call(self, x: Any) -> Any:
        return self.second(self.first(x)) + x


class Affine(layers.Layer):  # type: ignore[misc, name-defined]
    """A scale and an offset for each channel."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],))
        self.offset = self.add_weight(shape=(shape[-1],))

    def call(self, x: Any) -> Any:
        return x * self.scale + self.offset


class ShortResidual(layers.Layer):  # type: ignore[misc, name-defined]
    """A convolution that shortens, and one that shortens the input."""

    def build(self, _shape: Any) -> None:
        self.inner = layers.Conv1D(3, 3, strides=2, padding="same")
        self.around = layers.Conv1D(3, 1, strides=2, padding="same")
        for inner in (self.inner, self.around):
            inner.build((None, None, 4))

    def call(self, x: Any) -> Any:
        return self.inner(x) + self.around(x)


KERAS: dict[str, Callable[[], list[Any]]] = {
    "dense": list,
    "affine": lambda: [layers.Conv1D(4, 1), Affine(), layers.Flatten()],
    "zero_pad_image": lambda: [
        layers.Conv2D(2, 1),
        layers.ZeroPadding2D(((1, 0), (0, 2))),
        layers.Flatten(),
    ],
    "zero_pad_signal": lambda: [
        layers.Conv1D(4, 1),
        layers.ZeroPadding1D((2, 1)),
        layers.Flatten(),
    ],
    "relu": lambda: [layers.Dense(6), layers.ReLU()],
    "personal": lambda: [
        layers.Dense(6),
        layers.ReLU(),
        layers.Dense(4),
        layers.ReLU(),
    ],
    "regression": lambda: [layers.Dense(6), layers.ReLU()],
    "softness": lambda: [layers.Dense(6), layers.ReLU()],
    "binary": lambda: [layers.Dense(6), layers.ReLU()],
    "adam": lambda: [layers.Dense(6), layers.ReLU()],
    "scale": lambda: [
        layers.Conv2D(2, 1),
        layers.Lambda(lambda x: x * tf.constant([0.5, -2.0])),
        layers.Flatten(),
    ],
    "conv2d_same": lambda: [
        layers.Rescaling(2.0),
        layers.Conv2D(5, (3, 2), padding="same"),
        layers.Flatten(),
    ],
    "reshape": lambda: [
        layers.Conv1D(4, 1),
        layers.Reshape((6, 6, 1)),
        layers.Conv2D(2, 2, padding="same"),
        layers.Flatten(),
    ],
    "conv2d_valid": lambda: [layers.Conv2D(5, (3, 2)), layers.Flatten()],
    "conv2d_same_stride": lambda: [
        layers.Conv2D(4, 1),
        layers.Conv2D(5, 3, strides=2, padding="same"),
        layers.Flatten(),
    ],
    "conv2d_valid_stride": lambda: [
        layers.Conv2D(4, 1),
        layers.Conv2D(5, (2, 3), strides=2),
        layers.Flatten(),
    ],
    "conv2d_cut": lambda: [
        layers.Conv2D(4, 1),
        layers.Conv2D(5, 1, strides=2, padding="same"),
        layers.Flatten(),
    ],
    "conv1d_same": lambda: [
        layers.Conv1D(4, 1),
        layers.Conv1D(5, 4, padding="same"),
        layers.Flatten(),
    ],
    "conv1d_valid_stride": lambda: [
        layers.Conv1D(4, 1),
        layers.Conv1D(5, 4, strides=2),
        layers.Flatten(),
    ],
    "max_pool_image": lambda: [
        layers.Conv2D(4, 1),
        layers.MaxPool2D(2),
        layers.Flatten(),
    ],
    "max_pool_signal": lambda: [
        layers.Conv1D(4, 1),
        layers.MaxPool1D(2),
        layers.Flatten(),
    ],
    "average_pool_image": lambda: [
        layers.Conv2D(4, 1),
        layers.AveragePooling2D(3),
        layers.Flatten(),
    ],
    "average_pool_signal": lambda: [
        layers.Conv1D(4, 1),
        layers.AveragePooling1D(2),
        layers.Flatten(),
    ],
    "group_norm_image": lambda: [
        layers.Conv2D(4, 1),
        layers.GroupNormalization(2, epsilon=1e-5),
        layers.Flatten(),
    ],
    "group_norm_signal": lambda: [
        layers.Conv1D(4, 1),
        layers.GroupNormalization(4, epsilon=1e-5),
        layers.ReLU(),
        layers.Flatten(),
    ],
    "depthwise_same": lambda: [
        layers.Conv2D(4, 1),
        layers.DepthwiseConv2D((3, 2), padding="same"),
        layers.Flatten(),
    ],
    "depthwise_same_stride": lambda: [
        layers.Conv2D(4, 1),
        layers.DepthwiseConv2D(3, strides=2, padding="same"),
        layers.Flatten(),
    ],
    "depthwise_valid_stride": lambda: [
        layers.Conv2D(4, 1),
        layers.DepthwiseConv2D((2, 3), strides=2),
        layers.Flatten(),
    ],
    "depthwise_cut": lambda: [
        layers.Conv2D(4, 1),
        layers.DepthwiseConv2D(1, strides=3, padding="same"),
        layers.Flatten(),
    ],
    "relu6": lambda: [
        layers.Dense(6),
        layers.Rescaling(8.0),
        layers.ReLU(max_value=6.0),
    ],
    "tanh": lambda: [layers.Dense(6, activation="tanh")],
    "sigmoid": lambda: [layers.Dense(6, activation="sigmoid")],
    "layer_norm_image": lambda: [
        layers.Conv2D(4, 1),
        layers.LayerNormalization(epsilon=1e-5),
        layers.Flatten(),
    ],
    "layer_norm_flat": lambda: [
        layers.Dense(6),
        layers.LayerNormalization(),
        layers.ReLU(),
    ],
    "residual": lambda: [Residual(), ShortResidual(), layers.Flatten()],
    "embedding": lambda: [layers.Embedding(5, 3), layers.Flatten()],
    "upsample_image": lambda: [
        layers.Conv2D(2, 1),
        layers.UpSampling2D(2),
        layers.Flatten(),
    ],
    "upsample_signal": lambda: [
        layers.Conv1D(4, 1),
        layers.UpSampling1D(3),
        layers.Flatten(),
    ],
    "conv2d_transpose_same": lambda: [
        layers.Conv2D(3, 1),
        layers.Conv2DTranspose(4, 3, strides=2, padding="same"),
        layers.Flatten(),
    ],
    "conv2d_transpose_valid": lambda: [
        layers.Conv2D(3, 1),
        layers.Conv2DTranspose(4, (3, 1), strides=2),
        layers.Flatten(),
    ],
    "conv1d_transpose_same": lambda: [
        layers.Conv1D(4, 1),
        layers.Conv1DTranspose(2, 4, strides=2, padding="same"),
        layers.Flatten(),
    ],
    "conv1d_transpose_valid": lambda: [
        layers.Conv1D(4, 1),
        layers.Conv1DTranspose(2, 2, strides=3),
        layers.Flatten(),
    ],
    "gru": lambda: [layers.GRU(5)],
    "gru_sequences": lambda: [
        layers.Conv1D(3, 1),
        layers.GRU(5, return_sequences=True),
        layers.GRU(4),
    ],
    "global_average_pool": lambda: [
        layers.Conv2D(5, 2, padding="same"),
        layers.GlobalAveragePooling2D(),
    ],
}


NO_TWIN = {"frozen", "standardize", "reconstruction", "dropout"}


def _losses(model: Model, y: Any, outputs: Any) -> Any:
    match model.task:
        case "classification":
            return tf.nn.sparse_softmax_cross_entropy_with_logits(y, outputs)
        case "regression" if model.softness:
            size = tf.sqrt((outputs - y) ** 2 + model.softness**2)
            return tf.reduce_mean(size - model.softness, 1)
        case "regression":
            return tf.reduce_mean((outputs - y) ** 2, 1)
        case _:
            each = tf.nn.sigmoid_cross_entropy_with_logits(y, outputs)
            return tf.reduce_mean(each, 1)


def _keras_optimizer(name: str) -> Any:
    if name == "adam":
        return tf.keras.optimizers.Adam(0.05, beta_1=0.9, epsilon=1e-7)
    return tf.keras.optimizers.SGD(0.05, momentum=0.9)


def test_every_other_case_has_a_keras_twin() -> None:
    assert set(KERAS) == set(CASES) - NO_TWIN


@pytest.mark.parametrize("name", KERAS)
def test_five_steps_equal_those_of_autodiff(name: str) -> None:
    model, params = CASES[name], params_of(CASES[name], seed=1)
    batches = list(batches_of(model, seed=2, steps=5))
    settings = Settings(learning_rate=0.05, momentum=0.9).of(model)
    mine = train(oracle(model), params, batches=batches, settings=settings)

    twin = tf.keras.Sequential(
        [
            layers.Input(model.input_shape),
            *KERAS[name](),
            layers.Dense(model.outputs),
        ]
    )
    shapes = [weights.shape for weights in twin.get_weights()]
    twin.set_weights([p.reshape(s) for p, s in zip(params, shapes, strict=True)])
    optimizer = _keras_optimizer(model.optimizer)
    for batch, loss in zip(batches, mine.losses, strict=True):
        with tf.GradientTape() as tape:
            each = _losses(model, batch.y, twin(batch.x, training=True))
            mean = tf.reduce_sum(each * batch.w) / tf.reduce_sum(batch.w)
        assert float(mean) == pytest.approx(loss, rel=1e-4)
        grads = tape.gradient(mean, twin.trainable_variables)
        optimizer.apply_gradients(zip(grads, twin.trainable_variables, strict=True))
    theirs = [
        weights.reshape(tensor.shape)
        for weights, tensor in zip(twin.get_weights(), params, strict=True)
    ]
    assert distance(mine.params, theirs) < 2e-5
