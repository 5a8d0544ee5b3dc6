"""``my-model``: a model of windows of a signal, yours to change.

Try it: edgefed zoo build FOLDER, then edgefed demo --data FOLDER.
"""

from typing import Final

from model_zoo.convolutions import conv1d
from model_zoo.layers import dense, relu, standardize
from model_zoo.model import Model, PlanDefaults
from model_zoo.norms import group_norm
from model_zoo.pools import average_pool, global_average_pool

# One example as data.py yields it: samples in a window, numbers in a sample.
INPUT_SHAPE: Final = (16, 3)
# The classes; data.py yields their place in this list.
LABELS: Final = ("still", "slow", "fast")

# What devices do in a round, and how many rounds there are; edgefed demo can vary it.
PLAN: Final = PlanDefaults(rounds=15, epochs=3, learning_rate=0.02, momentum=0.9)

MODEL: Final = Model(
    name="my-model",
    data="my-model",
    input_shape=INPUT_SHAPE,
    outputs=len(LABELS),
    labels=LABELS,
    batch=16,
    layers=(
        # Brings every channel to mean 0 and deviation 1, by the fleet's statistics.
        standardize(),
        # Looks at 5 samples at a time, for 16 patterns.
        conv1d(16, 5),
        group_norm(4),
        relu(),
        average_pool(2),
        conv1d(32, 5),
        group_norm(4),
        relu(),
        # How strong each pattern was, wherever in the window.
        global_average_pool(),
        dense(len(LABELS)),
    ),
    plan=PLAN,
)
