"""A stored cohort: the updates of a merge where they are kept, open for its passes."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from broker_server.aggregators import Cohort
from broker_server.stored_update import Stored, StoredUpdate
from wire_protocol.params import Vector


@dataclass(frozen=True, slots=True)
class Contribution:
    """An accepted update on its way into a merge.

    Attributes:
        device: Whose it is.
        stored: Its frame; a file is read piece by piece.
        staleness_factor: What its age leaves it of its weight.
        norm: L2 norm of its delta as it was accepted; None where that was not stored.
    """

    device: str
    stored: Stored
    staleness_factor: float = 1.0
    norm: float | None = None


@dataclass(frozen=True, slots=True)
class StoredCohort:
    """The cohort of a merge, and what is known of its updates, in the same order.

    The weights of ``cohort`` are what the devices' numbers of examples and the age of
    their updates come to, whatever the devices claim.
    """

    cohort: Cohort
    devices: tuple[str, ...]
    num_examples: tuple[int, ...]
    staleness_factors: tuple[float, ...]
    norms: tuple[float | None, ...]


@contextlib.contextmanager
def opened(
    contributions: Iterable[Contribution], *, size: int
) -> Iterator[StoredCohort]:
    """Open the updates of a merge, of ``size`` values each; files are closed after it.

    Raises:
        DecodeError: An update is not what was once accepted.
    """
    updates: list[StoredUpdate] = []
    entries: list[Contribution] = []

    def chunks(scratch: Vector, factors: Sequence[float]) -> list[Iterator[Vector]]:
        return [
            update.chunks(size, out=scratch, factor=factor)
            for update, factor in zip(updates, factors, strict=True)
        ]

    with contextlib.ExitStack() as files:
        for one in contributions:
            update = StoredUpdate(one.stored)
            files.callback(update.close)
            updates.append(update)
            entries.append(one)
        counts = tuple(update.message.num_examples for update in updates)
        ages = tuple(one.staleness_factor for one in entries)
        weights = tuple(count * age for count, age in zip(counts, ages, strict=True))
        yield StoredCohort(
            Cohort(size, weights, chunks),
            devices=tuple(one.device for one in entries),
            num_examples=counts,
            staleness_factors=ages,
            norms=tuple(one.norm for one in entries),
        )
