"""What every device of a federation holds, in numbers. This module is pure.

Two figures say how unlike a device is: the entropy of its label mix in bits (0: it
knows one class), and the total variation distance between its mix and that of all
devices together, the share of its examples that would have to be of another class (0:
alike, nearly 1: nothing in common). Targets are compared by tenths of the first one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.data.dataset import Dataset, Labels, Task
from model_zoo.data.federation import Federation, tenths

QUANTILES: Final = (5, 25, 50, 75, 95)
"""Per cent of a device's first target that lie below the described values."""


@dataclass(frozen=True, slots=True)
class ClientMix:
    """One device: its examples by class or tenth, and its first target's quantiles.

    ``counts`` is empty where there is nothing to predict, ``quantiles`` where the
    target is a class.
    """

    name: str
    examples: int
    counts: tuple[int, ...]
    quantiles: tuple[float, ...]
    entropy_bits: float
    distance: float


@dataclass(frozen=True, slots=True)
class Description:
    """A whole federation: ``total`` is all devices as if they were one."""

    data: str
    partition: str
    task: Task
    classes: tuple[str, ...]
    total: ClientMix
    clients: tuple[ClientMix, ...]
    judging: int

    def to_json(self) -> dict[str, object]:
        """Return plain values; names are those of the fields."""
        return asdict(self)


def described(dataset: Dataset, federation: Federation) -> Description:
    """Describe ``federation``, which was made of ``dataset``."""
    shards = federation.shards
    targets = [
        None if shard.y is None or shard.y.ndim == 1 else shard.y[:, 0].astype(float)
        for shard in shards
    ]
    labels: list[Labels] = []
    kinds = len(federation.classes)
    if federation.task in ("regression", "binary"):
        kinds = 10
        edges = tenths(dataset.y)
        labels = [
            np.searchsorted(edges, y).astype(np.int32) for y in targets if y is not None
        ]
    elif federation.task == "classification":
        labels = [shard.y.astype(np.int32) for shard in shards if shard.y is not None]
    counts = [np.bincount(label, minlength=kinds) for label in labels]
    if not counts:
        counts = [np.zeros(0, np.int64) for _ in shards]
    together = np.sum(counts, 0)
    known = [target for target in targets if target is not None]
    return Description(
        data=dataset.name,
        partition=str(federation.partition),
        task=federation.task,
        classes=federation.classes,
        total=_mix(
            "all",
            sum(map(len, shards)),
            counts=together,
            overall=together,
            target=np.concatenate(known) if known else None,
        ),
        clients=tuple(
            _mix(shard.name, len(shard), counts=count, overall=together, target=target)
            for shard, count, target in zip(shards, counts, targets, strict=True)
        ),
        judging=len(federation.test_y),
    )


def entropy_bits(counts: NDArray[np.integer]) -> float:
    """Shannon entropy of the mix that ``counts`` are of; 0 of no examples."""
    shares = counts[counts > 0] / max(int(counts.sum()), 1)
    return float(abs((shares * np.log2(shares)).sum()))


def distance(counts: NDArray[np.integer], overall: NDArray[np.integer]) -> float:
    """Total variation distance between two mixes, 0 to 1; 0 where one is empty."""
    if not counts.sum() or not overall.sum():
        return 0.0
    return float(np.abs(counts / counts.sum() - overall / overall.sum()).sum() / 2)


def most_unlike(clients: Sequence[ClientMix]) -> list[ClientMix]:
    """Sort by distance, the most unlike first; equals stay in order."""
    return sorted(clients, key=lambda client: -client.distance)


def _mix(
    name: str,
    examples: int,
    *,
    counts: NDArray[np.integer],
    overall: NDArray[np.integer],
    target: NDArray[np.float64] | None,
) -> ClientMix:
    quantiles = [] if target is None else np.percentile(target, QUANTILES).tolist()
    return ClientMix(
        name=name,
        examples=examples,
        counts=tuple(counts.tolist()),
        quantiles=tuple(quantiles),
        entropy_bits=entropy_bits(counts),
        distance=distance(counts, overall),
    )
