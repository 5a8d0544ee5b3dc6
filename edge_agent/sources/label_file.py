"""A file of labels for recorded data: CSV with ``start,end,label``.

Times are seconds or ISO 8601, as in the recording; an interval holds its start and not
its end.
"""

import bisect
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from edge_agent.sources.csv_file import cell_time, read_lines
from wire_protocol.errors import ConfigError

MAX_INTERVALS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Intervals:
    """Labels by time, in order, without overlaps."""

    starts: tuple[float, ...]
    ends: tuple[float, ...]
    labels: tuple[str, ...]

    def at(self, time: float) -> str | None:
        """Return the label at ``time``; None: there is none."""
        index = bisect.bisect_right(self.starts, time) - 1
        return self.labels[index] if index >= 0 and time < self.ends[index] else None


def read_intervals(path: Path) -> Intervals:
    """Read a file of labels.

    Raises:
        ConfigError: It cannot be read, or is not such a file.
    """
    found: list[tuple[float, float, str]] = []
    for line in read_lines(path, ("start", "end", "label")):
        start, end = (
            cell_time(cell, path=path, line=line.number) for cell in line.cells[:2]
        )
        if not start < end or len(found) == MAX_INTERVALS:
            raise ConfigError(
                f"{path} line {line.number}: an interval ends after it starts, and "
                f"there are {MAX_INTERVALS} at most",
                remedy="clean the file",
            )
        found.append((start, end, line.cells[2].strip()))
    found.sort()
    for (_, end, _), (start, _, _) in pairwise(found):
        if start < end:
            raise ConfigError(
                f"{path} has intervals that overlap at {start:g}",
                remedy="give each moment one label",
            )
    starts, ends, labels = zip(*found, strict=True) if found else ((), (), ())
    return Intervals(starts, ends, labels)
