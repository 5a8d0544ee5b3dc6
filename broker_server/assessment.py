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

import numpy as np

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
    lengths: Sequence[float],
    last_step: Vector,
) -> tuple[Assessment, ...]:
    """Compare every update with what became of all; one more pass over the cohort.

    Args:
        cohort: The clipped updates.
        mean: What was merged, ``[size]``.
        devices: Whose the updates are.
        lengths: Norms before clipping, in units of the running median norm.
        last_step: The server's step before this one, ``[size]``, or of size 0.

    Raises:
        DecodeError: An update is not what its codec writes.
    """
    count = cohort.count
    own, along, again = np.zeros(count), np.zeros(count), np.zeros(count)
    for where, rows in cohort.chunks([1.0] * count):
        merged = mean[where].astype(np.float64)
        last = last_step[where].astype(np.float64)
        for index, row in enumerate(rows):
            wide = row.astype(np.float64)
            along[index] += (wide * merged).sum()
            if last.size:
                again[index] += (wide * last).sum()
            wide *= wide
            own[index] += wide.sum()
    # The same delta has the same two sums, to the bit, and hardly another has.
    owners = set(zip(own.tolist(), along.tolist(), devices, strict=True))
    alike = Counter((square, product) for square, product, _ in owners)
    merged_norm, last_norm = math.sqrt(squared(mean)), math.sqrt(squared(last_step))
    norms = np.sqrt(own)
    agreements = [
        _cosine(product, norm * merged_norm)
        for product, norm in zip(along, norms, strict=True)
    ]
    contested = count > 0 and statistics.median(agreements) < 0.0
    return tuple(
        Assessment(
            device=device,
            length=lengths[index],
            agreement=agreements[index],
            repetition=_cosine(again[index], norms[index] * last_norm),
            copied=own[index] > 0.0 and alike[own[index], along[index]] > 1,
            compared=len(set(devices)),
            contested=contested,
        )
        for index, device in enumerate(devices)
    )


def _cosine(product: float, norms: float) -> float:
    return float(product / norms) if norms > 0.0 else 0.0
