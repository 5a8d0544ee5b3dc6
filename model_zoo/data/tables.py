"""Reading published tables: small text files with a header and numbers in columns.

Meant for files whose bytes were verified, yet it trusts none: a file of another header,
a ragged row or a word in place of a number is an error, and memory is bounded.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import ConfigError

MAX_BYTES: Final = 2 * 1024 * 1024


def read_table(
    path: Path,
    *,
    delimiter: str,
    columns: tuple[str, ...],
    times: Callable[[str], float] | None = None,
    max_bytes: int = MAX_BYTES,
) -> NDArray[np.float64]:
    """Read some columns of the table at ``path``, shape ``[rows, columns]``.

    Args:
        path: A text file: a header, then a row a line; an empty cell is no number.
        delimiter: What is between two cells.
        columns: Names of the columns, as the header has them.
        times: Turns a cell of the first of ``columns`` into a number, where it is none.
        max_bytes: The largest file that is read.

    Raises:
        ConfigError: The file cannot be read, is larger, or is not such a table. Nothing
            else is ever raised, whatever the file holds.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise ConfigError(f"{path} is larger than {max_bytes} bytes")
        header, *lines = data.decode().splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a table: {error}") from error
    names = header.split(delimiter)
    missing = [name for name in columns if name not in names]
    if missing:
        raise ConfigError(f"{path} has no column {missing[0]!r}")
    places = [names.index(name) for name in columns]
    reads = [float if times is None else times, *[float] * (len(columns) - 1)]
    table = np.empty((len(lines), len(columns)))
    for number, line in enumerate(lines):
        cells = line.split(delimiter)
        try:
            table[number] = [
                read(cells[at]) for read, at in zip(reads, places, strict=True)
            ]
        except (ValueError, IndexError, OverflowError) as error:
            raise ConfigError(f"{path}: line {number + 2}: {error}") from error
        if len(cells) != len(names) or not np.isfinite(table[number]).all():
            raise ConfigError(
                f"{path}: line {number + 2} has {len(cells)} cells under {len(names)} "
                f"names, or a number that is not finite"
            )
    return table
