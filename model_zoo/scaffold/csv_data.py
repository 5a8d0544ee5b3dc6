"""Examples from CSV files: ``data/<device>.csv``, one for each device.

The same file feeds ``edgefed demo`` and a device, where ``data/`` holds what that
device measured (``[data] source = "python"`` in agent.toml). Change what you need; all
that counts is what ``by_device()`` and ``examples()`` yield.
"""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

# Where the files are.
DATA = Path(__file__).parent / "data"
# Columns that the model sees, in order.
INPUTS = ("ax", "ay", "az")
# The column with the class, and what it may say: the LABELS of definition.py.
LABEL = "label"
LABELS = ("still", "slow", "fast")
# The column that says whose a row is; None: the file's name does.
DEVICE: str | None = None
# Rows in an example, and rows from one example to the next. 1 and 1: each row is one.
WINDOW, STEP = 16, 8

Row = list[float]


def by_device() -> Iterator[tuple[str, list[Row] | Row, int]]:
    """Yield ``(device, x, y)``: windows in which neither device nor label changes."""
    for path in sorted(DATA.glob("*.csv")):
        rows: list[Row] = []
        before = None
        for device, label, row in _rows(path):
            if (device, label) != before:
                rows, before = [], (device, label)
            rows.append(row)
            if len(rows) == WINDOW:
                yield device, rows if WINDOW > 1 else row, LABELS.index(label)
                rows = rows[STEP:]


def examples(start: int = 0) -> Iterator[tuple[list[Row] | Row, int]]:
    """Yield ``(x, y)`` on a device, after the first ``start`` that it has already."""
    return ((x, y) for _, x, y in islice(by_device(), start, None))


def _rows(path: Path) -> Iterator[tuple[str, str, Row]]:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            device = row[DEVICE] if DEVICE else path.stem
            yield device, row[LABEL], [float(row[name]) for name in INPUTS]
