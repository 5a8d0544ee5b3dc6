"""A folder of NPZ and CSV files: read when it changed, kept in memory, split for ever.

Every file is read once, as long as it stays as it is. A damaged one is left out with
one warning that says why.
"""

import asyncio
import hashlib
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_agent.data_settings import DataSettings
from edge_agent.examples import (
    Examples,
    ExampleStore,
    Snapshot,
    checksum,
    joined,
    read_npz,
    stacked,
)
from edge_agent.holdout import Split
from edge_agent.sources.csv_file import cell_number, cell_time, read_lines
from edge_agent.sources.feed import Feed, News, nothing
from edge_agent.sources.label_file import Intervals, read_intervals
from edge_agent.sources.labels import class_of
from edge_agent.sources.maker import Example, Maker
from edge_agent.sources.windows import Label
from wire_protocol.errors import ConfigError

log = logging.getLogger(__name__)

MAX_FILES: Final = 10_000
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """A file as it is now: what changes when its content does."""

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Part:
    """The examples of one file, and their checksum; ``held`` tells which are."""

    examples: Examples
    crc: int
    held: NDArray[np.bool_]


class FolderStore:
    """The examples of a folder.

    Raises:
        ConfigError: The folder cannot be read, or ``[data]`` cannot be meant.
    """

    def __init__(self, settings: DataSettings) -> None:
        assert settings.folder.path is not None
        self._path = settings.folder.path
        self._settings = settings
        self._split = Split(settings.holdout, settings.seed, settings.window.run)
        self._intervals: Intervals | None = None
        if settings.labels.by == "file" and settings.labels.file:
            self._intervals = read_intervals(settings.labels.file)
        if settings.folder.columns:
            Maker(settings, channels=settings.folder.columns)
        self._parts: dict[Identity, Part | None] = {}
        self._scanning = threading.Lock()
        self.scan()

    @property
    def count(self) -> int:
        """Examples to train on."""
        held = sum(int(part.held.sum()) for _, part in self._good())
        return sum(part.examples.count for _, part in self._good()) - held

    def scan(self) -> bool:
        """Read what is new; return whether anything changed.

        Raises:
            ConfigError: The folder cannot be read.
        """
        with self._scanning:
            there = self._listed()
            known = {name: self._parts[name] for name in there if name in self._parts}
            before = self._parts
            for identity in there:
                if identity not in known:
                    known[identity] = self._read(identity, known)
            self._parts = self._within_limits({one: known[one] for one in there})
            return known.keys() != before.keys()

    def snapshot(self, wanted: str = "") -> Snapshot:
        """Return what the folder has now; ``wanted`` is that, or it is gone."""
        del wanted
        try:
            self.scan()
        except ConfigError as error:  # a stick that was pulled out, say
            log.warning("%s", error)
        parts = self._good()
        digest = hashlib.sha256(repr(self._split).encode())
        for identity, part in parts:
            digest.update(f"{identity.name}/{part.examples.count}/{part.crc}".encode())
        training, holdout = (
            joined([_picked(part, held=held) for _, part in parts])
            for held in (False, True)
        )
        key = digest.hexdigest()[:32]
        return Snapshot(training, holdout, source=str(self._path), key=key)

    def as_store(self, *, min_examples: int) -> ExampleStore:
        """Return the store that rounds use."""
        return ExampleStore(
            str(self._path), lambda: self.count, self.snapshot, min_examples
        )

    def _good(self) -> list[tuple[Identity, Part]]:
        return [(name, part) for name, part in self._parts.items() if part is not None]

    def _listed(self) -> list[Identity]:
        """Return the folder's files in the order of their names."""
        found = []
        try:
            for path in sorted(self._path.iterdir())[:MAX_FILES]:
                if path.suffix.lower() in (".npz", ".csv") and path.is_file():
                    stat = path.stat()
                    found.append(Identity(path.name, stat.st_size, stat.st_mtime_ns))
        except OSError as error:
            raise ConfigError(
                f"{self._path} cannot be read: {error.strerror}",
                remedy="correct [data.folder] path",
            ) from error
        return found

    def _read(
        self, identity: Identity, known: dict[Identity, Part | None]
    ) -> Part | None:
        path = self._path / identity.name
        try:
            npz = path.suffix.lower() == ".npz"
            examples = read_npz(path) if npz else self._read_csv(path)
            _check_alike(path, examples, known)
        except ConfigError as error:
            log.warning("a file is left out: %s", error)
            return None
        salt = int.from_bytes(hashlib.sha256(identity.name.encode()).digest()[:6])
        held = self._split.held(np.arange(examples.count), salt=salt)
        return Part(examples, checksum(examples), held)

    def _read_csv(self, path: Path) -> Examples:
        folder, labels = self._settings.folder, self._settings.labels
        if not folder.columns:
            raise ConfigError(
                f"{path} needs columns", remedy="name them in [data.folder] columns"
            )
        maker = Maker(self._settings, channels=folder.columns)
        numbers = folder.columns + (labels.columns if labels.by == "numbers" else ())
        named = [labels.column] if labels.by == "column" else []
        timed = [folder.time] if folder.time else []
        most = self._settings.store.max_mib * _MIB // maker.form.record_bytes
        made: list[Example] = []
        last = None
        for line in read_lines(path, (*numbers, *named, *timed)):
            cells = line.cells
            row = [
                cell_number(cell, path=path, line=line.number)
                for cell in cells[: len(numbers)]
            ]
            whole = tuple(value for value in row if value is not None)
            time = None
            if timed:
                time = cell_time(cells[-1], path=path, line=line.number)
                if self._breaks(last, time):
                    maker.push(None)
                last = time
            label = self._label(cells[len(numbers)] if named else None, time)
            example = maker.push(whole if len(whole) == len(row) else None, label)
            if isinstance(example, Example):
                if len(made) == most:
                    raise ConfigError(
                        f"{path} makes more than {self._settings.store.max_mib} MiB "
                        "of examples",
                        remedy="raise [data.window] hop or [data.store] max_mib",
                    )
                made.append(example)
        if not made:
            raise ConfigError(
                f"{path} makes no example",
                remedy="look at [data.window] length and at its labels and gaps",
            )
        return stacked([(one.x, one.y) for one in made])

    def _breaks(self, last: float | None, time: float) -> bool:
        most = self._settings.window.max_age_s
        return last is not None and (time < last or 0 < most < time - last)

    def _label(self, cell: str | None, time: float | None) -> Label:
        name = cell.strip() if cell is not None else None
        if self._intervals is not None and time is not None:
            name = self._intervals.at(time)
        return class_of(name, self._settings.labels.classes)

    def _within_limits(
        self, parts: dict[Identity, Part | None]
    ) -> dict[Identity, Part | None]:
        """Return ``parts`` without what is too much; the newest files are kept."""
        store = self._settings.store
        count, room = store.max_examples, store.max_mib * _MIB
        kept = dict(parts)
        for identity in sorted(parts, key=lambda one: (-one.mtime_ns, one.name)):
            part = parts[identity]
            if part is None:
                continue
            x = part.examples.x
            count -= part.examples.count
            room -= x.nbytes
            if count < 0 or room < 0:
                log.warning("%s is left out: there are enough examples", identity.name)
                kept[identity] = None
        return kept


def folder_feed(store: FolderStore, settings: DataSettings) -> Feed:
    """Return what looks for new files while the agent runs."""

    async def run(news: News) -> None:
        while True:
            await asyncio.sleep(settings.store.flush_s)
            try:
                changed = await asyncio.to_thread(store.scan)
            except ConfigError as error:
                log.warning("%s", error)
                continue
            if changed:
                news()

    return Feed(frozenset(), nothing, run, nothing)


def _form(examples: Examples) -> str:
    return f"of shape {list(examples.x.shape[1:])} with {examples.kind}"


def _check_alike(
    path: Path, examples: Examples, known: dict[Identity, Part | None]
) -> None:
    others = next((part for part in known.values() if part), None)
    if others and _form(others.examples) != _form(examples):
        raise ConfigError(
            f"{path} has examples {_form(examples)}, the files before it "
            f"{_form(others.examples)}",
            remedy="move it to another folder",
        )


def _picked(part: Part, *, held: bool) -> Examples:
    rows = part.held if held else ~part.held
    return Examples(part.examples.x[rows], part.examples.y[rows])
