"""``energy-gru``: what a home will take in the next hour, from its past day.

Takes hours ``[24, 6]``: load in kWh, hour of the day as sine and cosine, weekend,
outdoor temperature in degrees Celsius and sun in W/m2
(``model_zoo.data.citylearn_homes``). What a weighted sum of the day says is corrected
by a recurrent network, as in LSTNet (Lai et al., SIGIR 2018): the sum learns within a
few rounds what most hours follow.
"""

from typing import Final

from model_zoo.convolutions import conv1d
from model_zoo.layers import flatten, standardize
from model_zoo.model import Model, PlanDefaults
from model_zoo.recurrent import gru
from model_zoo.residual import residual

_HOURS: Final = 24

PLAN: Final = PlanDefaults(rounds=20, epochs=1, learning_rate=0.003, momentum=0.9)

MODEL: Final = Model(
    name="energy-gru",
    data="citylearn-homes",
    input_shape=(_HOURS, 6),
    outputs=1,
    batch=64,
    layers=(
        standardize(),
        residual(
            gru(16, sequences=True),
            conv1d(1, _HOURS, padding="valid"),
            projection=conv1d(1, _HOURS, padding="valid"),
        ),
        flatten(),
    ),
    plan=PLAN,
    task="regression",
    optimizer="adam",
)
