"""Small Keras networks with weights drawn at random, made when they are needed."""
# ruff: noqa: PLC0415 - importing Keras takes seconds

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _sequential(shape: Sequence[int], *layers: Any) -> Any:
    import keras

    return keras.Sequential([keras.Input(shape), *layers])


def mlp() -> Any:
    from keras import layers

    model = _sequential(
        (6,),
        layers.Dense(5, activation="relu"),
        layers.Dropout(0.25),
        layers.Dense(4, activation="tanh", use_bias=False),
        layers.LayerNormalization(epsilon=1e-5),
        layers.Dense(3, activation="softmax", name="odd name"),
    )
    model.compile(loss="sparse_categorical_crossentropy")
    return model


def image() -> Any:
    from keras import layers

    return _sequential(
        (12, 10, 3),
        layers.Rescaling(1 / 127.5, offset=-1.0),
        layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(max_value=6),
        layers.SeparableConv2D(8, (3, 3), activation="relu"),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.BatchNormalization(scale=False),
        layers.Activation("relu"),
        layers.BatchNormalization(center=False),
        layers.ZeroPadding2D(((0, 1), (1, 0))),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(3),
    )


def signal() -> Any:
    from keras import layers

    return _sequential(
        (16, 4),
        layers.Conv1D(8, 5, padding="same"),
        layers.GroupNormalization(4, epsilon=1e-5),
        layers.ReLU(),
        layers.AveragePooling1D(2),
        layers.ZeroPadding1D(1),
        layers.Conv1D(6, 3, strides=2, activation="sigmoid"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(2, activation="sigmoid"),
    )


def autoencoder() -> Any:
    from keras import layers

    return _sequential(
        (8, 8, 1),
        layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(4, 3, padding="same", activation="relu"),
        layers.UpSampling2D(2),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    )


def sequence() -> Any:
    """A functional model: embedded tokens, two recurrent layers, one shortcut."""
    import keras
    from keras import layers

    given = keras.Input((5,), dtype="int32")
    x = layers.Embedding(11, 4)(given)
    x = layers.GRU(4, return_sequences=True)(x)
    x = layers.GRU(6)(x)
    y = layers.Dense(6, activation="relu")(x)
    x = layers.Add()([y, x])
    return keras.Model(given, layers.Dense(3, activation="softmax")(x))


KERAS_NETWORKS: Final[dict[str, Callable[[], Any]]] = {
    make.__name__: make for make in (mlp, image, signal, autoencoder, sequence)
}


def saved(name: str, folder: Path) -> Path:
    """Save a network whose every weight is drawn, and return its file."""
    model = KERAS_NETWORKS[name]()
    rng = np.random.default_rng(3)
    for variable in model.weights:
        values = rng.uniform(-0.6, 0.6, variable.shape)
        if "variance" in variable.name:
            values = np.abs(values) + 0.1
        if variable.dtype == "float32":
            variable.assign(values)
    path = folder / f"{name}.keras"
    model.save(path)
    return path
