"""The user's own examples made a data set: what their ``data.py`` yields, checked.

``examples()`` yields ``(x, y)``, as an agent takes them; ``by_device()``, if there is
one, yields ``(device, x, y)``, and every device named there is a natural client. Of
each device's examples of a class the last fifth, in the order they come, is held out:
windows of one recording that overlap stay on one side but for one border. With five
devices or more, every fifth is one that never trains (``--unseen``).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_zoo import own_folder
from model_zoo.data.dataset import Dataset, Examples, Mask, Targets, Task
from wire_protocol.errors import ConfigError

MAX_EXAMPLES: Final = 1_000_000
MAX_BYTES: Final = 1 << 30
HELD_OUT: Final = 0.2
UNSEEN_EVERY: Final = 5

Item = tuple[str, NDArray[np.float32], Any]
"""Device, x, y."""


def read(folder: Path) -> Dataset:
    """Run the folder's ``data.py`` and return what it yields.

    Raises:
        ConfigError: It fails, or what it yields does not fit together or the model.
    """
    path = folder / own_folder.DATA
    function = own_folder.load_examples(folder)
    task: Task | None = None
    labels: tuple[str, ...] = ()
    if (folder / own_folder.DEFINITION).is_file():
        model = own_folder.load_model(folder)
        task = model.task
        if task == "classification":
            labels = model.labels or tuple(map(str, range(model.outputs)))
    return assemble(
        _items(function, path=path),
        name=folder.resolve().name,
        place=str(path),
        task=task,
        labels=labels,
    )


def assemble(
    items: Iterable[Item],
    *,
    name: str,
    place: str,
    task: Task | None = None,
    labels: tuple[str, ...] = (),
    most: int = MAX_EXAMPLES,
) -> Dataset:
    """Make a data set of ``items``.

    Args:
        items: Device (empty: nobody's), x and y.
        name: Of the data set.
        place: What errors call where they are from.
        task: None: classification where y is a whole number, else regression.
        labels: Names of the classes; none: their numbers.
        most: How many examples may come, in 1 GiB.
    """
    devices, x, y = _gathered(items, place=place, most=most)
    whole = all(np.ndim(value) == 0 for value in y) and all(
        np.asarray(value).dtype.kind in "iu" for value in y
    )
    task = task or ("classification" if whole else "regression")
    if task in ("classification", "reconstruction"):
        targets: Targets = _classes(y, whole=whole, place=place)
        if task == "classification" and not labels:
            labels = tuple(map(str, range(int(targets.max()) + 1)))
    else:
        targets = _numbers(y, place=place)
    named = sorted({device for device in devices if device})
    if named and "" in devices:
        raise ConfigError(f"{place}: some examples have a device and others have none")
    client = np.array([named.index(d) if d else -1 for d in devices], np.int32)
    kinds = targets if targets.ndim == 1 else np.zeros(len(y), np.int32)
    unseen = (client >= 0) & (client % UNSEEN_EVERY == UNSEEN_EVERY - 1)
    try:
        return Dataset(
            name=name,
            x=x,
            y=targets,
            classes=labels if task == "classification" else (),
            held_out=_last_fifths(client, kinds),
            unseen=unseen,
            client=client,
            clients=_topic_names(named),
            task=task,
        )
    except ConfigError as error:
        raise ConfigError(
            f"{place}: {error.problem}",
            remedy="correct what it yields, or the model's labels and outputs",
        ) from error


def _items(function: Callable[[], Any], *, path: Path) -> Iterator[Item]:
    """Yield what the user's function yields, whatever it does."""
    named = function.__name__ == "by_device"
    try:
        for item in function():
            try:
                device, x, y = item if named else ("", *item)
            except (TypeError, ValueError):
                expected = "(device, x, y)" if named else "(x, y)"
                raise ConfigError(
                    f"{path}: {function.__name__}() yields {type(item).__name__} "
                    f"{item!r:.60}, expected {expected}",
                    remedy="see edgefed zoo new NAME",
                ) from None
            yield str(device), np.asarray(x, np.float32), y
    except ConfigError:
        raise
    except Exception as error:
        raise own_folder.failure(error, path) from error


def _gathered(
    items: Iterable[Item], *, place: str, most: int
) -> tuple[list[str], Examples, list[Any]]:
    devices: list[str] = []
    rows: list[NDArray[np.float32]] = []
    y: list[Any] = []
    size = 0
    for device, x, target in items:
        size += x.nbytes
        if len(rows) >= most or size > MAX_BYTES:
            raise ConfigError(
                f"{place} yields more than {most} examples or 1 GiB",
                remedy="let it end: here everything is held in memory",
            )
        if rows and x.shape != rows[0].shape:
            raise ConfigError(
                f"{place}: x has shape {list(x.shape)} after {list(rows[0].shape)}",
                remedy="yield examples of one shape",
            )
        if not x.ndim:
            raise ConfigError(f"{place}: x is one number", remedy="yield [x], a list")
        devices.append(device)
        rows.append(x)
        y.append(target)
    if not rows:
        raise ConfigError(
            f"{place} yields no examples", remedy="see where it looks for them"
        )
    return devices, np.stack(rows), y


def _classes(y: list[Any], *, whole: bool, place: str) -> NDArray[np.int32]:
    if not whole or any(not 0 <= int(value) < 1 << 16 for value in y):
        raise ConfigError(
            f"{place}: y is not a class number from 0, such as {y[0]!r:.60}",
            remedy="yield the place of the label in LABELS",
        )
    return np.array(y, np.int32)


def _numbers(y: list[Any], *, place: str) -> NDArray[np.float32]:
    try:
        targets = np.array([np.atleast_1d(value) for value in y], np.float32)
    except (TypeError, ValueError):
        raise ConfigError(
            f"{place}: y is not the same count of numbers for every example",
            remedy="yield a list of numbers, as many as the model has outputs",
        ) from None
    return targets


def _last_fifths(client: NDArray[np.int32], kinds: NDArray[Any]) -> Mask:
    held = np.zeros(len(client), np.bool_)
    for owner, kind in sorted(set(zip(client.tolist(), kinds.tolist(), strict=True))):
        mine = np.flatnonzero((client == owner) & (kinds == kind))
        held[mine[len(mine) - round(HELD_OUT * len(mine)) :]] = True
    return held


def _topic_names(names: list[str]) -> tuple[str, ...]:
    """Make names of devices what topics take; two that come out alike get a number."""
    made: list[str] = []
    for name in names:
        stem = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-_")[:26] or "device"
        found, number = stem, 1
        while found in made:
            number += 1
            found = f"{stem}-{number}"
        made.append(found)
    return tuple(made)
