"""``digits-cnn``: a small convolutional network for 8 x 8 handwritten digits.

Takes raw pixels, ``[64]`` of 0..16 in rows; the first layers scale and shape them.
"""

from typing import Final

from model_zoo.convolutions import conv2d
from model_zoo.layers import dense, flatten, relu, scale
from model_zoo.model import Model, PlanDefaults
from model_zoo.pools import average_pool
from model_zoo.reshaping import reshape

PLAN: Final = PlanDefaults(rounds=15, epochs=5, learning_rate=0.05, momentum=0.9)
"""Measured with the settings of ``recipe.toml``; what came out is on the card."""

MODEL: Final = Model(
    name="digits-cnn",
    data="digits",
    input_shape=(64,),
    outputs=10,
    batch=32,
    layers=(
        scale(1 / 16),
        reshape(8, 8, 1),
        conv2d(16, (3, 3)),
        relu(),
        average_pool(2),
        conv2d(32, (3, 3)),
        relu(),
        flatten(),
        dense(10),
    ),
    plan=PLAN,
    spread=16.0,
    labels=tuple("0123456789"),
)
