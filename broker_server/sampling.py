"""Sampling: which devices a round invites.

The draw depends on seed, round and the eligible devices alone, so that a run can be
repeated. This module is pure.

>>> draw_cohort(["c", "a", "b"], seed=1, round_number=1, fraction=1.0)
('a', 'b', 'c')
"""

from collections.abc import Iterable

import numpy as np

from wire_protocol.messages import MAX_COHORT


def cohort_size(eligible: int, *, fraction: float) -> int:
    """Return max(1, C * K) of Federated Averaging (McMahan et al. 2017, Alg. 1)."""
    return min(max(1, round(fraction * eligible)), eligible, MAX_COHORT)


def draw_cohort(
    eligible: Iterable[str], *, seed: int, round_number: int, fraction: float
) -> tuple[str, ...]:
    """Draw a cohort uniformly, without repetition; sorted, empty if nobody is there."""
    devices = sorted(set(eligible))
    size = cohort_size(len(devices), fraction=fraction)
    rng = np.random.default_rng(np.random.SeedSequence([seed, round_number]))
    chosen = rng.permutation(len(devices))[:size]
    return tuple(devices[index] for index in sorted(chosen))
