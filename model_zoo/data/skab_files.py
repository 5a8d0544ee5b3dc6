"""From the published tables of ``skab``, one a run, to its arrays.

The run without an anomaly has no column that says so. Times have no zone; they are
taken as UTC, which only their differences could tell.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from model_zoo.data.tables import read_table
from wire_protocol.npz import Array

TIME: Final = "datetime"
SENSORS: Final = (
    "Accelerometer1RMS",
    "Accelerometer2RMS",
    "Current",
    "Pressure",
    "Temperature",
    "Thermocouple",
    "Voltage",
    "Volume Flow RateRMS",
)
ANOMALY: Final = "anomaly"
COLUMNS: Final = (TIME, *SENSORS, ANOMALY)


def convert(files: Sequence[Path]) -> dict[str, Array]:
    """Turn the quiet run, then all others, into the arrays of the set.

    Raises:
        ConfigError: A file is not what it must be.
    """
    tables = [
        read_table(
            path,
            delimiter=";",
            columns=COLUMNS[:-1] if quiet else COLUMNS,
            times=_seconds,
        )
        for path, quiet in zip(files, [True, *[False] * len(files)], strict=False)
    ]
    width = 1 + len(SENSORS)
    return {
        "x": np.concatenate([table[:, 1:width] for table in tables]).astype(np.float32),
        "y": np.concatenate(
            [
                table[:, width] if table.shape[1] > width else np.zeros(len(table))
                for table in tables
            ]
        ).astype(np.uint8),
        "client_id": np.repeat(
            np.arange(len(tables), dtype=np.uint8), [len(table) for table in tables]
        ),
        "time": np.concatenate([table[:, 0] for table in tables]).astype(np.int64),
    }


def _seconds(cell: str) -> float:
    return datetime.fromisoformat(cell).replace(tzinfo=UTC).timestamp()
