"""Inertial windows of 23 people, phone and watch: sit, stand up, walk, turn, sit down.

An example is one second at 50 Hz, shape ``[50, 6]``: acceleration in m/s2 and rotation
in rad/s. Natural clients are the people, or each person's phone and watch apart. People
17 to 23 are the unseen ones; the hold-out is the last 30 % of each person's recordings.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from model_zoo.data import har_recordings
from model_zoo.data.dataset import Dataset
from model_zoo.data.fetch import Download
from model_zoo.data.origin import Origin
from wire_protocol.npz import Array

ORIGIN: Final = Origin(
    name="sp-sw-har",
    folder="sp_sw_har",
    arrays={
        "x": ("f", 3),
        "y": ("u", 1),
        "client_id": ("u", 1),
        "device": ("u", 1),
        "split_within": ("u", 1),
        "split_subject": ("u", 1),
    },
    max_bytes=16 * 1024 * 1024,
    content_sha256="4e298fa5af33f561b4dbd92e6a0df3b87e78fcb9dfefa6945f5126fbe460543f",
    # GitHub packs this archive on demand: har_recordings verifies its members.
    downloads=(
        Download(
            "https://github.com/GeoTecINIT/sp-sw-har-dataset/archive/"
            "1408d85a512a53861de7bc4729dee283fff2ea9d.zip",
            sha256=None,
        ),
    ),
    convert=har_recordings.convert,
    source="https://doi.org/10.5281/zenodo.8398688",
    licence="CC BY 4.0",
    citation="Matey-Sanz, Casteleyn, Granell, Data in Brief 2023, 109809",
)
CLASSES: Final = ("seated", "standing up", "walking", "turning", "sitting down")
PEOPLE: Final = 23
PLACES: Final = ("phone", "watch")


def assemble(arrays: Mapping[str, Array], *, by_place: bool = False) -> Dataset:
    """Make the set of verified ``arrays``; this function is pure.

    Args:
        arrays: What ``ORIGIN`` lists.
        by_place: A person's phone and watch are two clients, not one.

    Raises:
        ConfigError: The arrays contradict each other.
    """
    client = arrays["client_id"].astype(np.int32) - 1
    clients = [f"person-{person:02d}" for person in range(1, PEOPLE + 1)]
    if by_place:
        client = client * len(PLACES) + arrays["device"].astype(np.int32)
        clients = [f"{person}-{place}" for person in clients for place in PLACES]
    return Dataset(
        name=ORIGIN.name,
        x=arrays["x"].astype(np.float32),
        y=arrays["y"].astype(np.int32),
        classes=CLASSES,
        held_out=arrays["split_within"] == 1,
        unseen=arrays["split_subject"] == 1,
        client=client,
        clients=tuple(clients),
    )
