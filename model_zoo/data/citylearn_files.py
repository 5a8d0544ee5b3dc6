"""From the published tables of ``citylearn-homes`` to its arrays.

One table a home has calendar and load; one table has the weather of all.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from model_zoo.data.tables import read_table
from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array

CALENDAR: Final = ("month", "hour", "day_type", "daylight_savings_status")
LOAD: Final = "non_shiftable_load"
_NOW: Final = (
    "outdoor_dry_bulb_temperature",
    "outdoor_relative_humidity",
    "diffuse_solar_irradiance",
    "direct_solar_irradiance",
)
WEATHER: Final = (
    *_NOW,
    *(f"{name}_predicted_{ahead}" for name in _NOW for ahead in (1, 2, 3)),
)


def convert(files: Sequence[Path]) -> dict[str, Array]:
    """Turn the tables of all homes, and then that of the weather, into arrays.

    Raises:
        ConfigError: A file is not what it must be, or homes differ in their calendar.
    """
    *homes, sky = files
    # A home's empty columns are not read.
    tables = [
        read_table(path, delimiter=",", columns=(*CALENDAR, LOAD)) for path in homes
    ]
    calendar = tables[0][:, :-1]
    for path, table in zip(homes, tables, strict=True):
        if not np.array_equal(table[:, :-1], calendar):
            raise ConfigError(f"{path} has another calendar than {homes[0]}")
    return {
        "load_kwh": np.stack([table[:, -1] for table in tables]).astype(np.float32),
        "weather": read_table(sky, delimiter=",", columns=WEATHER).astype(np.float32),
        "calendar": calendar.astype(np.uint8),
    }
