"""Results: the outcomes of finished cells, in one JSON file that is always whole."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tools.quality.cells import Cell, Outcome
from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import ConfigError

FILE: Final = "results.json"


class Results:
    """The results in ``folder``; each is on the disk before ``add`` returns.

    Raises:
        ConfigError: The file is there, and is none of ours.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            raw = self._path.read_bytes() if self._path.exists() else b"{}"
        except OSError as error:
            raise ConfigError(
                f"{self._path} cannot be used: {error.strerror}",
                remedy="name another --out",
            ) from error
        self._outcomes = _parsed(raw, source=str(self._path))

    def __call__(self) -> Mapping[str, Outcome]:
        """Return all outcomes by the cell's key."""
        return self._outcomes

    def params(self, cell: Cell) -> Path:
        """Return where the parameters are that the federation ``cell`` ended with."""
        return self.folder / f"{cell.key.replace('/', '-')}.f32"

    def add(self, cell: Cell, outcome: Outcome) -> None:
        """Keep the outcome of ``cell``, in place of an earlier one."""
        self._outcomes[cell.key] = outcome
        plain = {key: asdict(one) for key, one in sorted(self._outcomes.items())}
        write_atomically(self._path, json.dumps(plain, indent=1).encode() + b"\n")


def _parsed(raw: bytes, *, source: str) -> dict[str, Outcome]:
    try:
        found = json.loads(raw).items()
        return {str(key): Outcome.from_json(plain) for key, plain in found}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"{source} holds no results: {error!r:.120}",
            remedy="remove it, or name another --out",
        ) from error
    except ConfigError as error:
        raise ConfigError(
            f"{source}: {error.problem}",
            remedy="remove it, or name another --out",
        ) from error
