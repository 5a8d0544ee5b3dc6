"""Assessments: what a merge sees of every update, and what of it is a fault.

A fault is what no honest device was ever measured to do, however unusual its examples
are (docs/robustness.md has the figures); one alone says little, and reputations are
made of many. This module is pure.
"""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from broker_server.aggregators import Cohort
from broker_server.clipping import squared
from wire_protocol.params import Vector

TOO_LONG: Final = 10.0
"""In units of the running median norm."""
NOTHING: Final = 1e-3
"""In the same units."""
AGAINST: Final = -0.2
"""Cosine with what was merged."""
REPEATED: Final = 0.95
"""Cosine with the server's own last step, which every device knows."""
_LEAST_NORM: Final = 1e-30
"""Below, the inverse is no float32 number, and the vector is one of nothing."""
FEWEST: Final = 3
"""Devices in a merge, below which there is no majority to compare with."""


class Fault(StrEnum):
    """What is wrong with an update that could be merged: stable, and free of data."""

    TOO_LONG = "too_long"
    NOTHING = "nothing"
    AGAINST = "against"
    COPIED = "copied"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Assessment:
    """One update of a merge.

    Attributes:
        device: Whose it is.
        length: Its norm, in units of the running median norm.
        agreement: Its cosine with what was merged.
        repetition: Its cosine with the server's last step; 0 where there was none.
        copied: Whether another device of the merge sent the very same delta.
        compared: With how many devices, itself included.
        contested: Whether most of the updates disagree with what was merged: a few
            have taken it then, and whoever is against them may be right.
    """

    device: str
    length: float
    agreement: float
    repetition: float
    copied: bool
    compared: int
    contested: bool = False

    @property
    def fault(self) -> Fault | None:
        """What is wrong with it, the clearest first; None: nothing, or too few."""
        if self.compared < FEWEST:
            return None
        for fault, found in (
            (Fault.TOO_LONG, self.length > TOO_LONG),
            (Fault.NOTHING, self.length < NOTHING),
            (Fault.COPIED, self.copied),
            (Fault.REPEATED, self.repetition > REPEATED),
            (Fault.AGAINST, self.agreement < AGAINST and not self.contested),
        ):
            if found:
                return fault
        return None


def assessed(
    cohort: Cohort,
    mean: Vector,
    *,
    devices: Sequence[str],
    norms: Sequence[float],
    lengths: Sequence[float],
    last_step: Vector,
) -> tuple[Assessment, ...]:
    """Compare every update with what became of all; one more pass over the cohort.

    Args:
        cohort: The clipped updates.
        mean: What was merged, ``[size]``.
        devices: Whose the updates are.
        norms: Of the clipped updates.
        lengths: Norms before clipping, in units of the running median norm.
        last_step: The server's step before this one, ``[size]``, or of size 0.

    Raises:
        DecodeError: An update is not what its codec writes.
    """
    count = cohort.count
    agreements, repetitions = [0.0] * count, [0.0] * count
    to_merged, to_last = _to_one(_norm(mean)), _to_one(_norm(last_step))
    # Vectors of length one: no product of float32 numbers overflows.
    for where, rows in cohort.chunks([_to_one(norm) for norm in norms]):
        merged, last = mean[where] * to_merged, last_step[where] * to_last
        for index, row in enumerate(rows):
            agreements[index] += float(row @ merged)
            if last.size:
                repetitions[index] += float(row @ last)
    # The same delta has the same two numbers, to the bit, and hardly another has.
    owners = set(zip(norms, agreements, devices, strict=True))
    alike = Counter((norm, agreement) for norm, agreement, _ in owners)
    contested = count > 0 and statistics.median(agreements) < 0.0
    return tuple(
        Assessment(
            device=device,
            length=lengths[index],
            agreement=agreements[index],
            repetition=repetitions[index],
            copied=norms[index] > 0.0 and alike[norms[index], agreements[index]] > 1,
            compared=len(set(devices)),
            contested=contested,
        )
        for index, device in enumerate(devices)
    )


def _norm(vector: Vector) -> float:
    return math.sqrt(squared(vector))


def _to_one(norm: float) -> float:
    """Return what makes a vector of this norm one of length one, or of zero length."""
    return 1.0 / norm if norm > _LEAST_NORM else 0.0
