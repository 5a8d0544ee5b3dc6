"""Compare hand-written gradients with finite differences. Pure; float64 throughout.

A difference is taken along random directions rather than along every parameter: one
wrong element of a gradient changes the slope along every direction.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_AGREES: Final = 1e-6
"""A relative error of rounding alone."""


def slope_error(
    loss: Callable[[Array], float],
    gradient: Array,
    *,
    at: Array,
    rng: np.random.Generator,
    directions: int = 8,
    steps: tuple[float, ...] = (1e-6, 1e-7, 3e-6),
) -> float:
    """Return the worst relative error of ``gradient`` along random directions.

    Args:
        loss: The function, of one vector.
        gradient: Claimed gradient of ``loss``, at ``at``.
        at: Where.
        rng: Draws the directions, of length 1.
        directions: How many to try.
        steps: Halves of the distance between the two points of a central difference.
            Another one is tried where the first disagrees: a relu's kink may lie
            between the points, but not between all of them.
    """
    worst = 0.0
    for _ in range(directions):
        direction = rng.standard_normal(at.shape)
        direction /= np.linalg.norm(direction)
        claimed, least = float(direction @ gradient), np.inf
        for step in steps:
            rise = loss(at + step * direction) - loss(at - step * direction)
            numeric = rise / (2 * step)
            # Below 1e-4 rounding of the loss would dominate: compare absolutely.
            scale = max(abs(numeric), abs(claimed), 1e-4)
            least = min(least, abs(numeric - claimed) / scale)
            if least < _AGREES:
                break
        worst = max(worst, least)
    return worst
