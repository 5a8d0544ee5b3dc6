"""``mnist-cnn``: a small convolutional network for 28 x 28 handwritten digits.

Takes raw pixels, ``[28, 28, 1]`` of 0..255; the first layer scales them. Strides take
the place of pools: a third of the time of a step, at the same accuracy.
"""

from typing import Final

from model_zoo.convolutions import conv2d
from model_zoo.layers import dense, flatten, relu, scale
from model_zoo.model import Model, PlanDefaults

PLAN: Final = PlanDefaults(rounds=100, epochs=3, learning_rate=0.05, momentum=0.9)
"""Measured with the settings of ``recipe.toml``; what came out is on the card."""

MODEL: Final = Model(
    name="mnist-cnn",
    data="mnist-by-writer",
    input_shape=(28, 28, 1),
    outputs=10,
    batch=32,
    layers=(
        scale(1 / 255),
        conv2d(8, (5, 5), stride=2),
        relu(),
        conv2d(16, (3, 3), stride=2),
        relu(),
        flatten(),
        dense(32),
        relu(),
        dense(10),
    ),
    plan=PLAN,
    spread=255.0,
    labels=tuple("0123456789"),
)
