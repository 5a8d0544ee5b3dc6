"""CSV files that people made: a header, rows of cells, of bounded size throughout.

The separator is the comma, semicolon or tab that the header has most of.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from edge_agent.sources.readings import number_of
from wire_protocol.errors import ConfigError

MAX_FILE_BYTES: Final = 256 << 20
_MAX_LINE: Final = 64 * 1024
_MISSING: Final = frozenset(
    {"", "na", "nan", "n/a", "null", "none", "unavailable", "unknown"}
)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a CSV file: its line number and its cells."""

    number: int
    cells: list[str]


def read_lines(path: Path, columns: tuple[str, ...]) -> Iterator[Line]:
    """Yield the cells of ``columns``, in that order, of every row.

    Raises:
        ConfigError: The file cannot be read, is too large, is no CSV, has not got a
            column, or a row has not as many cells as the header.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(
                f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB",
                remedy="split it into several files",
            )
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _read(path, file, columns)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or error}",
            remedy="correct [data]",
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"{path} is no CSV file: {error}", remedy="save it as CSV, in UTF-8"
        ) from error


def cell_number(cell: str, *, path: Path, line: int) -> float | None:
    """Return a cell's number; None: it is empty, a gap.

    Raises:
        ConfigError: It is something else.
    """
    number = number_of(cell)
    if number is None and cell.strip().lower() not in _MISSING:
        raise ConfigError(
            f"{path} line {line}: {cell!r:.30} is no number",
            remedy="clean the file, or name other columns",
        )
    return number


def cell_time(cell: str, *, path: Path, line: int) -> float:
    """Return a cell's time in seconds: a number, or ISO 8601.

    Raises:
        ConfigError: It is neither.
    """
    number = number_of(cell)
    if number is not None:
        return number
    from datetime import UTC, datetime  # noqa: PLC0415 - few files need it

    try:
        moment = datetime.fromisoformat(cell.strip()[:64])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = moment.timestamp()
    except (ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ConfigError(
            f"{path} line {line}: {cell!r:.40} is no time",
            remedy="write seconds, or 2024-05-01T12:30:00",
        )
    return seconds


def _read(path: Path, file: IO[str], columns: tuple[str, ...]) -> Iterator[Line]:
    lines = _bounded(path, file)
    header = next(lines, "")
    separator = max(",;\t", key=header.count)
    names = [
        name.strip() for name in next(csv.reader([header], delimiter=separator), [])
    ]
    places = []
    for column in columns:
        if column not in names:
            raise ConfigError(
                f"{path} has no column {column!r:.40}",
                remedy=f"its columns are {', '.join(names)!s:.200}",
            )
        places.append(names.index(column))
    rows = csv.reader(lines, delimiter=separator)
    for row in rows:
        if not row:
            continue
        if len(row) != len(names):
            raise ConfigError(
                f"{path} line {rows.line_num + 1} has {len(row)} cells, "
                f"its header {len(names)}",
                remedy="clean the file",
            )
        yield Line(rows.line_num + 1, [row[place] for place in places])


def _bounded(path: Path, file: IO[str]) -> Iterator[str]:
    """Yield lines; one without end is no CSV."""
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise ConfigError(
                f"{path} has a line of more than {_MAX_LINE} characters",
                remedy="save it as CSV, in UTF-8",
            )
        yield line
