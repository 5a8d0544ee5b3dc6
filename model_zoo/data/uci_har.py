"""Six activities of 30 people with a phone at the waist, as 265 ready-made features.

An example is a window of 2.56 s, shape ``[265]``: the time-domain features of the
published 561 (means, deviations, energies, ... of acceleration, its jerk, and turn
rate), each from -1 to 1 as published. Natural clients are the people. The 9 people of
the official test split are the unseen ones; the hold-out is a random 30 % of each
person's windows, which overlap by half, so judging by it flatters.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from model_zoo.data.dataset import Dataset
from model_zoo.data.origin import Origin
from wire_protocol.npz import Array

ORIGIN: Final = Origin(
    name="uci-har",
    folder="uci_har",
    arrays={
        "x_q15": ("i", 2),
        "y": ("u", 1),
        "client_id": ("u", 1),
        "split_within": ("u", 1),
        "split_official": ("u", 1),
    },
    max_bytes=8 * 1024 * 1024,
    content_sha256="755c8b782d4ced2eb5e87d09068c65d3049b15304307fdaf5bb92bd1f05494d7",
    source="https://doi.org/10.24432/C54S4K",
    licence="any commercial use is prohibited by its README: to evaluate with only",
    citation=(
        "Anguita, Ghio, Oneto, Parra, Reyes-Ortiz, A Public Domain Dataset for Human "
        "Activity Recognition Using Smartphones, ESANN 2013"
    ),
)
CLASSES: Final = (
    "walking", "walking upstairs", "walking downstairs", "sitting", "standing", "lying",
)  # fmt: skip
PEOPLE: Final = 30
FULL_SCALE: Final = 32_767
"""Of the stored whole numbers; a feature is within 1.6e-5 of the published one."""


def assemble(arrays: Mapping[str, Array]) -> Dataset:
    """Make the set of verified ``arrays``; this function is pure.

    Raises:
        ConfigError: The arrays contradict each other.
    """
    return Dataset(
        name=ORIGIN.name,
        x=(arrays["x_q15"].astype(np.float64) / FULL_SCALE).astype(np.float32),
        y=arrays["y"].astype(np.int32),
        classes=CLASSES,
        held_out=arrays["split_within"] == 1,
        unseen=arrays["split_official"] == 1,
        client=arrays["client_id"].astype(np.int32) - 1,
        clients=tuple(f"person-{person:02d}" for person in range(1, PEOPLE + 1)),
    )
