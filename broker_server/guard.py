"""The guard: what stands between the updates of a merge and the global model.

Every update is clipped to the running median norm, then weighed, then the rule of the
configured mode makes one delta of all. What comes of it depends on what is stored
alone, to the bit. How well it does under attack: docs/robustness.md. This module is
pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from broker_server.aggregators import Aggregator, aggregated, weighted_mean
from broker_server.assessment import Assessment, assessed
from broker_server.clipping import capped, clip_factors, norms_of, usual_norm
from broker_server.guard_settings import GuardSection
from broker_server.robust_rules import (
    centered_clip,
    coordinate_median,
    geometric_median,
    trimmed_mean,
)
from broker_server.stored_cohort import Contribution, StoredCohort, opened
from wire_protocol.params import Vector

History: TypeAlias = Sequence[tuple[str, float]]
"""Device and norm of the updates of earlier merges, as far back as the window."""


@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """What the guard made of a merge's updates.

    Attributes:
        mean: Their delta, float32 ``[size]``.
        bound: The norm that they were clipped to; 0 where all are zero.
        norms: Device and norm of each, in their order, for the merges to come.
        assessments: What it saw of each, in their order.
    """

    mean: Vector
    bound: float
    norms: History
    assessments: tuple[Assessment, ...]


def rule_named(guard: GuardSection) -> Aggregator:
    """Return the rule of the configured mode."""
    match guard.mode:
        case "mean":
            return weighted_mean()
        case "rfa":
            return geometric_median()
        case "centered-clip":
            return centered_clip()
        case "trimmed-mean":
            return trimmed_mean(guard.trim)
        case "median":
            return coordinate_median()


def guarded_mean(
    contributions: Iterable[Contribution],
    *,
    size: int,
    guard: GuardSection | None = None,
    history: History = (),
    last_step: Vector | None = None,
) -> Guarded:
    """Return what the guard makes of accepted updates, in their order.

    Args:
        contributions: The updates of the merge; files are closed after it.
        size: Values of a delta.
        guard: The settings; by default the server's own.
        history: Norms of the merges before, within the guard's window.
        last_step: The server's step before this one, ``[size]``, if there was one.

    Raises:
        EmptyRoundError: There is no update.
        DecodeError: An update is not what was once accepted.
    """
    guard = guard or GuardSection()
    with opened(contributions, size=size) as stored:
        norms = norms_of(stored.cohort, stored.norms)
        usual = _usual(stored, norms, history)
        bound = guard.clip * usual
        clipped = stored.cohort.scaled(
            clip_factors(norms, bound=bound), weights=_weights(stored, guard)
        )
        mean = aggregated(clipped, rule_named(guard))
        assessments = assessed(
            clipped,
            mean,
            devices=stored.devices,
            norms=[min(norm, bound) for norm in norms],
            lengths=[norm / usual if usual else 0.0 for norm in norms],
            last_step=np.empty(0, np.float32) if last_step is None else last_step,
        )
        told = tuple(zip(stored.devices, norms, strict=True))
    return Guarded(mean, bound, told, assessments)


def _usual(stored: StoredCohort, norms: Sequence[float], history: History) -> float:
    by_device: defaultdict[str, list[float]] = defaultdict(list)
    for device, norm in (*history, *zip(stored.devices, norms, strict=True)):
        by_device[device].append(norm)
    return usual_norm(by_device)


def _weights(stored: StoredCohort, guard: GuardSection) -> list[float]:
    """Return how much each update counts, by its examples and its age.

    A number of examples is a claim. In mode "mean" it is believed up to the cap; a rule
    against liars believes nobody who claims more than the median.
    """
    cap = guard.weight_cap if guard.mode == "mean" else 1.0
    counts = capped(stored.num_examples, cap=cap)
    return [
        count * age for count, age in zip(counts, stored.staleness_factors, strict=True)
    ]
