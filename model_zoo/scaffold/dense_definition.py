"""``my-model``: a model of some numbers, yours to change.

Try it: edgefed zoo build FOLDER, then edgefed demo --data FOLDER.
"""

from typing import Final

from model_zoo.layers import dense, flatten, relu, standardize
from model_zoo.model import Model, PlanDefaults

# One example as data.py yields it: how many numbers.
INPUT_SHAPE: Final = (4,)
# The classes; data.py yields their place in this list.
LABELS: Final = ("still", "slow", "fast")

# What devices do in a round, and how many rounds there are; edgefed demo can vary it.
PLAN: Final = PlanDefaults(rounds=10, epochs=3, learning_rate=0.05, momentum=0.9)

MODEL: Final = Model(
    name="my-model",
    data="my-model",
    input_shape=INPUT_SHAPE,
    # To predict numbers instead of classes: task="regression", outputs=1, no labels,
    # dense(1) at the end, and a list of one number as y in data.py.
    outputs=len(LABELS),
    labels=LABELS,
    batch=16,
    layers=(
        # Brings every number to mean 0 and deviation 1, by the fleet's statistics.
        standardize(),
        flatten(),
        dense(32),
        relu(),
        dense(16),
        relu(),
        dense(len(LABELS)),
    ),
    plan=PLAN,
)
