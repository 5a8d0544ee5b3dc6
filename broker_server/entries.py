"""Entries: a folder of records, one file each, of which only changed ones are read."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from wire_protocol.errors import ConfigError, DecodeError

T = TypeVar("T")
_Stamp: TypeAlias = tuple[int, int, int]


class Entries(Generic[T]):
    """The records in ``path``, by the names of their files; others may change them.

    Files are replaced as wholes, so one that is the same file is the same record. May
    be used by several threads.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        self.path = path
        self._parse = parse
        self._known: dict[str, tuple[_Stamp, T]] = {}

    def path_of(self, name: str) -> Path:
        """Return where the record called ``name`` is, or would be."""
        return self.path / f"{name}.json"

    def all(self) -> dict[str, T]:
        """Return every record, sorted by name.

        Raises:
            ConfigError: One cannot be read, or is none.
        """
        known = self._known
        found: dict[str, tuple[_Stamp, T]] = {}
        for name, stamp in sorted(self._stamps()):
            before = known.get(name)
            if before is not None and before[0] == stamp:
                found[name] = before
                continue
            record = self.one(name)
            if record is not None:  # it was removed meanwhile
                found[name] = stamp, record
        self._known = found
        return {name: record for name, (_, record) in found.items()}

    def one(self, name: str) -> T | None:
        """Return the record called ``name``, if there is one.

        Raises:
            ConfigError: It cannot be read, or is none.
        """
        path = self.path_of(name)
        try:
            return self._parse(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, DecodeError) as error:
            raise ConfigError(
                f"{path} cannot be read: {error}",
                remedy="bring it back from a backup, or remove it",
            ) from error

    def _stamps(self) -> Iterator[tuple[str, _Stamp]]:
        """Yield names and what is another with every file; taken before it is read."""
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    name, dot, rest = entry.name.rpartition(".json")
                    if not (name and dot) or rest or name.startswith("."):
                        continue
                    try:
                        stat = entry.stat()
                    except FileNotFoundError:
                        continue
                    yield name, (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        except OSError as error:
            raise ConfigError(
                f"{self.path} cannot be read: {error.strerror}",
                remedy="run this as the user the fleet's folder belongs to",
            ) from error
