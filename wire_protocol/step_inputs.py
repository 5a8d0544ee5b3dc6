"""The scalars of a training step, as both the zoo and a device give them. Pure.

>>> sorted(step_inputs("sgd", number=0, learning_rate=0.1, momentum=0.9, mu=0.0))
['lr', 'momentum', 'mu']
>>> int(step_inputs("sgd", number=2, learning_rate=0.1, momentum=0.9, seed=5)["seed"])
7
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wire_protocol.manifest import Optimizer

ADAM_BETA2: Final = 0.999
"""Decay of Adam's second moments; its first one is the plan's ``momentum``."""
MAX_SEED: Final = 1 << 24
"""Seeds are below: exact in float32, in which graphs compute with them."""


def step_inputs(
    optimizer: Optimizer,
    *,
    number: int,
    learning_rate: float,
    momentum: float,
    mu: float = 0.0,
    seed: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Return the scalars of step ``number``, by their names in the ``train`` graph.

    Args:
        optimizer: Of the artifact. Adam's rate is corrected for moments that start at
            zero (Kingma & Ba, ICLR 2015, section 2).
        number: Steps taken since the optimizer state was zero.
        learning_rate: Before correction.
        momentum: Adam's beta1.
        mu: Weight of FedProx's proximal term.
        seed: What is drawn by chance in all steps; None where nothing is.
    """
    if optimizer == "adam":
        taken = number + 1
        learning_rate *= math.sqrt(1 - ADAM_BETA2**taken) / (1 - momentum**taken)
    scalars: dict[str, NDArray[Any]] = {
        "lr": np.asarray(learning_rate, np.float32),
        "momentum": np.asarray(momentum, np.float32),
        "mu": np.asarray(mu, np.float32),
    }
    if seed is not None:
        scalars["seed"] = np.asarray((seed + number) % MAX_SEED, np.int32)
    return scalars
