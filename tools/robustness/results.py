"""Results of an attack table: a JSON file that grows with every run that is over."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from broker_server.guard_settings import GuardSection
from model_zoo import zoo
from tools.robustness.arena import Cell, Outcome
from tools.robustness.tasks import PART, TASKS
from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import ConfigError


def key(cell: Cell) -> str:
    """Name a cell, with a digest of the settings that decide what it gives."""
    task = TASKS[cell.task]
    layout = zoo.manifest(task.model).layout.digest
    settings = [asdict(task.recipe), layout, PART, asdict(GuardSection())]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return f"{cell.task}/{cell.attack}/{cell.defence}/{cell.seed}/{digest[:8]}"


class Results:
    """Every outcome in the file ``path``, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, Outcome] = {}
        if path.is_file():
            try:
                plain = json.loads(path.read_bytes())
                self._found = {name: Outcome(**one) for name, one in plain.items()}
            except (ValueError, TypeError, AttributeError) as error:
                raise ConfigError(
                    f"{path} holds no results of this bench: {error!r:.120}",
                    remedy="name another file with --out",
                ) from error

    def of(self, cell: Cell) -> Outcome | None:
        """Return what is known of ``cell``."""
        return self._found.get(key(cell))

    def add(self, cell: Cell, outcome: Outcome) -> None:
        """Keep what came out of ``cell``.

        Raises:
            ConfigError: The file cannot be written.
        """
        self._found[key(cell)] = outcome
        plain: Mapping[str, object] = {
            name: asdict(one) for name, one in sorted(self._found.items())
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps(plain, indent=1).encode())
        except OSError as error:
            raise ConfigError(
                f"{self._path} cannot be written: {error.strerror}",
                remedy="name another file with --out",
            ) from error
