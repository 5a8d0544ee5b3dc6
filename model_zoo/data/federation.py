"""A data set made into a federation: one shard a device, and one set that judges.

>>> from model_zoo.data.catalog import load
>>> federation = federate(load("digits", seed=0, environ={}), devices=6, seed=0)
>>> len(federation.shards), federation.shards[0].name
(6, 'device-01')
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.data.dataset import Dataset, Examples, Labels, Targets, Task
from model_zoo.data.partition import Indices, by_client, seeded
from model_zoo.data.skew import (
    Dirichlet,
    Natural,
    Partition,
    divided,
    shifted,
    skewed,
)
from wire_protocol.errors import ConfigError

DEFAULT_DEVICES: Final = 6
DEFAULT_ALPHA: Final = 0.3

_PARTITION_STREAM: Final = 1
_SHIFT_STREAM: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """What one device holds. Its own hold-out is cut by the device, not here.

    ``y`` is None where the task is reconstruction: all of ``x`` is normal then.
    """

    name: str
    x: Examples
    y: Targets | None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True, eq=False)
class Federation:
    """Shards to train on, and the central test set no device holds anything of.

    ``partition`` is how the examples were spread. The test set is as the data set has
    it, whatever the devices' own sensors do.
    """

    shards: tuple[Shard, ...]
    test_x: Examples
    test_y: Targets
    classes: tuple[str, ...]
    partition: Partition
    task: Task = "classification"

    def __post_init__(self) -> None:
        if not self.shards or not len(self.test_y):
            raise ConfigError(
                "a federation has at least one shard and one test example"
            )


def federate(
    dataset: Dataset,
    *,
    seed: int,
    devices: int | None = None,
    partition: Partition | None = None,
    alpha: float | None = None,
    shift: float = 0.0,
    unseen: bool = False,
) -> Federation:
    """Split ``dataset`` into shards and a test set.

    By default every natural client has a device of its own, or ``devices`` share them;
    a set without natural clients is spread by label skew. Any partition but ``Natural``
    mixes the examples of all clients.

    Args:
        dataset: Examples with their masks.
        seed: Decides the partition, and the shift of each device.
        devices: How many; by default one a natural client, or 6.
        partition: How examples are spread.
        alpha: Short for ``partition=skewed(alpha)``.
        shift: How differently the devices' sensors read (``skew.shifted``); 0: alike.
        unseen: Judge on people who never train, instead of on the hold-out.

    Raises:
        ConfigError: The set has no such test set, or cannot be split like this.
    """
    judging = dataset.unseen if unseen else dataset.held_out
    if not judging.any() or judging.all():
        kind = "unseen people" if unseen else "hold-out"
        raise ConfigError(
            f"{dataset.name} has no {kind} to judge with",
            remedy="leave --unseen out" if unseen else "judge with --unseen",
        )
    train = np.flatnonzero(~judging & dataset.trainable)
    if not len(train):
        raise ConfigError(f"{dataset.name} has no normal example to train on")
    how = _chosen(dataset, partition, alpha)
    if isinstance(how, Natural):
        parts = by_client(dataset.client[train], devices)
        names = _names(dataset, [train[part] for part in parts])
    else:
        parts = divided(
            how,
            skew_labels(dataset)[train],
            devices=DEFAULT_DEVICES if devices is None else devices,
            rng=seeded(seed, _PARTITION_STREAM),
        )
        names = _numbered(len(parts))
    xs = _readings(dataset.x[train], parts, shift=shift, seed=seed)
    learnt = None if dataset.task == "reconstruction" else dataset.y
    shards = tuple(
        Shard(name, x, None if learnt is None else learnt[train[part]])
        for name, x, part in zip(names, xs, parts, strict=True)
    )
    return Federation(
        shards,
        dataset.x[judging],
        dataset.y[judging],
        dataset.classes,
        how,
        dataset.task,
    )


def skew_labels(dataset: Dataset) -> Labels:
    """Return what label skew is about: classes, or the tenths of the first target."""
    y = dataset.y
    if y.ndim == 1:
        return y.astype(np.int32)
    return np.searchsorted(tenths(y), y[:, 0]).astype(np.int32)


def tenths(y: Targets) -> NDArray[np.float64]:
    """Return the 9 values that cut the first target of ``y`` into tenths."""
    return np.quantile(y[:, 0].astype(np.float64), np.arange(1, 10) / 10)


def write_shard(shard: Shard, path: Path) -> None:
    """Write the ``examples.npz`` an agent reads: ``x``, and ``y`` if there is one."""
    arrays: dict[str, Targets] = {"x": shard.x}
    if shard.y is not None:
        arrays["y"] = shard.y
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _chosen(
    dataset: Dataset, partition: Partition | None, alpha: float | None
) -> Partition:
    if partition is not None and alpha is not None:
        raise ConfigError(
            f"alpha {alpha:g} and the partition {partition} are both given",
            remedy="leave one out",
        )
    if alpha is not None:
        return skewed(alpha)
    if partition is None:
        return Natural() if dataset.clients else Dirichlet(DEFAULT_ALPHA)
    if isinstance(partition, Natural) and not dataset.clients:
        raise ConfigError(
            f"{dataset.name} has no natural clients",
            remedy="choose iid, dirichlet:0.3 or shards:2",
        )
    return partition


def _readings(
    x: Examples, parts: list[Indices], *, shift: float, seed: int
) -> list[Examples]:
    if shift == 0.0:
        return [x[part] for part in parts]
    spread = x.reshape(-1, x.shape[-1]).std(0)
    own = seeded(seed, _SHIFT_STREAM).spawn(len(parts))
    return [
        shifted(x[part], strength=shift, spread=spread, rng=rng)
        for part, rng in zip(parts, own, strict=True)
    ]


def _names(dataset: Dataset, parts: list[Indices]) -> list[str]:
    """Name devices after their clients when each has exactly one, else by number."""
    owners = [np.unique(dataset.client[part]) for part in parts]
    if any(len(owner) > 1 for owner in owners):
        return _numbered(len(parts))
    return [dataset.clients[owner[0]] for owner in owners]


def _numbered(count: int) -> list[str]:
    width = max(2, len(str(count)))
    return [f"device-{number:0{width}d}" for number in range(1, count + 1)]
