"""Convergence: when the model has stopped to get better on the devices' hold-outs.

This module is pure.

>>> progress = Progress()
>>> for loss in (1.0, 0.5, 0.4999, 0.4998):
...     progress = observe(progress, loss, tolerance=0.01)
>>> progress
Progress(best=0.5, stale_rounds=2)
"""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Progress:
    """Best weighted hold-out loss so far, and how many rounds it has stood."""

    best: float = math.inf
    stale_rounds: int = 0


def observe(progress: Progress, loss: float | None, *, tolerance: float) -> Progress:
    """Take a round's loss into account; None, when no device judged, says nothing."""
    if loss is None:
        return progress
    if loss < progress.best - tolerance:
        return Progress(loss)
    return replace(progress, stale_rounds=progress.stale_rounds + 1)


def has_converged(progress: Progress, *, patience: int) -> bool:
    """Whether ``patience`` rounds brought no gain; a patience of 0 never ends."""
    return 0 < patience <= progress.stale_rounds
