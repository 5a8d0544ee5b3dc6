"""``energy-gru``: what a home will take in the next hour, from its past day.

Takes hours ``[24, 6]``: load in kWh, hour of the day as sine and cosine, weekend,
outdoor temperature in degrees Celsius and sun in W/m2
(``model_zoo.data.citylearn_homes``). The last layer sees the network's state at every
hour, and errors well above 0.1 kWh count by their size: what an hour takes is skewed,
and a model of squared errors tells its mean, which is further off on most hours.
"""

from typing import Final

from model_zoo.layers import dense, flatten, standardize
from model_zoo.model import Model, PlanDefaults
from model_zoo.recurrent import gru

PLAN: Final = PlanDefaults(rounds=20, epochs=2, learning_rate=0.001, momentum=0.9)

MODEL: Final = Model(
    name="energy-gru",
    data="citylearn-homes",
    input_shape=(24, 6),
    outputs=1,
    batch=64,
    layers=(standardize(), gru(16, sequences=True), flatten(), dense(1)),
    plan=PLAN,
    task="regression",
    optimizer="adam",
    softness=0.1,
)
