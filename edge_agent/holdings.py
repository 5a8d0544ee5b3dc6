"""What a device holds to learn from, told without changing anything.

An agent may be running on the same state folder meanwhile.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.data_settings import DataSettings
from edge_agent.example_log import FOLDER
from edge_agent.examples import Examples, ExampleStore
from edge_agent.holdout import Split
from edge_agent.segment_folder import look_into, records_of


@dataclass(frozen=True, slots=True)
class Holdings:
    """What there is.

    Attributes:
        source: Where it comes from.
        training: Number of examples to train on.
        holdout: Number that are held out.
        shape: Of one example; None: there is none yet.
        targets: What each teaches.
        classes: How many examples each class has, by its number.
        bytes_on_disk: That the examples take.
        newest_age_s: Since the last was written, by the board's clock.
    """

    source: str
    training: int
    holdout: int
    shape: tuple[int, ...] | None
    targets: str
    classes: dict[int, int]
    bytes_on_disk: int
    newest_age_s: float | None


def holdings(
    settings: DataSettings,
    state_dir: Path,
    *,
    now: Callable[[], float] = time.time,
) -> Holdings:
    """Look what the examples of ``settings`` are.

    Raises:
        ConfigError: A file or folder of examples cannot be read.
        DecodeError: The examples were there a moment ago, and are gone.
    """
    match settings.source:
        case "npz":
            assert settings.examples is not None
            store = ExampleStore.load(
                settings.examples, holdout=settings.holdout, seed=settings.seed
            )
            return _of_store(store, [settings.examples], now=now())
        case "folder":
            from edge_agent.sources.folder import FolderStore  # noqa: PLC0415

            assert settings.folder.path is not None
            store = FolderStore(settings).as_store(min_examples=1)
            files = [path for path in settings.folder.path.iterdir() if path.is_file()]
            return _of_store(store, files, now=now())
        case source:
            return _of_log(state_dir / FOLDER, settings, source=source, now=now())


def _of_store(store: ExampleStore, files: list[Path], *, now: float) -> Holdings:
    snapshot = store.snapshot("")
    parts = snapshot.training, snapshot.holdout
    return _summed(
        store.source, iter(parts), files, now=now, held=snapshot.holdout.count
    )


def _of_log(
    folder: Path, settings: DataSettings, *, source: str, now: float
) -> Holdings:
    found = look_into(folder)
    split = Split(settings.holdout, settings.seed, settings.window.run)
    held = sum(
        int(split.held(np.arange(one.first, one.first + one.count)).sum())
        for one in found.segments
    )
    files = [segment.path for segment in found.segments]
    return _summed(
        f"source {source}", records_of(found.segments), files, now=now, held=held
    )


def _summed(
    source: str, parts: Iterator[Examples], files: list[Path], *, now: float, held: int
) -> Holdings:
    count, shape, targets = 0, None, "none yet"
    classes: dict[int, int] = {}
    for part in parts:
        if not part.count:
            continue
        count += part.count
        shape, targets = part.x.shape[1:], part.kind
        if part.y.ndim == 1:
            for label, times in zip(
                *np.unique(part.y, return_counts=True), strict=True
            ):
                classes[int(label)] = classes.get(int(label), 0) + int(times)
    newest = max((path.stat().st_mtime for path in files), default=None)
    return Holdings(
        source=source,
        training=count - held,
        holdout=held,
        shape=shape,
        targets=targets,
        classes=dict(sorted(classes.items())),
        bytes_on_disk=sum(path.stat().st_size for path in files),
        newest_age_s=None if newest is None else round(max(0.0, now - newest), 1),
    )
