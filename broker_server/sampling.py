"""Sampling: which devices a round invites.

The draw depends on seed, round and the eligible devices alone, so that a run can be
repeated. This module is pure.

>>> draw_cohort(["c", "a", "b"], seed=1, round_number=1, size=3)
('a', 'b', 'c')
"""

import math
from collections.abc import Iterable

import numpy as np

from wire_protocol.messages import MAX_COHORT


def merge_size(eligible: int, *, fraction: float) -> int:
    """Return max(1, C * K) of Federated Averaging (McMahan et al. 2017, Alg. 1)."""
    return min(max(1, round(fraction * eligible)), eligible)


def cohort_size(eligible: int, *, wanted: int, over_select: float) -> int:
    """Return how many to invite so that ``wanted`` report in time.

    Bonawitz et al. (MLSys 2019, section 2.2) over-select by 1.3 for the same reason.

    >>> cohort_size(100, wanted=10, over_select=1.25)
    13
    """
    return min(eligible, math.ceil(over_select * max(wanted, 0)), MAX_COHORT)


def draw_cohort(
    eligible: Iterable[str], *, seed: int, round_number: int, size: int
) -> tuple[str, ...]:
    """Draw ``size`` devices uniformly, without repetition; sorted."""
    devices = sorted(set(eligible))
    rng = np.random.default_rng(np.random.SeedSequence([seed, round_number]))
    chosen = rng.permutation(len(devices))[:size]
    return tuple(devices[index] for index in sorted(chosen))
