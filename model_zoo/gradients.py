"""Compare hand-written gradients with finite differences. Pure; float64 throughout.

A difference is taken along random directions rather than along every parameter: one
wrong element of a gradient changes the slope along every direction.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def slope_error(
    loss: Callable[[Array], float],
    gradient: Array,
    *,
    at: Array,
    rng: np.random.Generator,
    directions: int = 8,
    step: float = 1e-6,
) -> float:
    """Return the worst relative error of ``gradient`` along random directions.

    Args:
        loss: The function, of one vector.
        gradient: Claimed gradient of ``loss``, at ``at``.
        at: Where.
        rng: Draws the directions, of length 1.
        directions: How many to try.
        step: Half the distance between the two points of a central difference.
    """
    worst = 0.0
    for _ in range(directions):
        direction = rng.standard_normal(at.shape)
        direction /= np.linalg.norm(direction)
        rise = loss(at + step * direction) - loss(at - step * direction)
        numeric, claimed = rise / (2 * step), float(direction @ gradient)
        # Below 1e-4 rounding of the loss itself would dominate: compare absolutely.
        scale = max(abs(numeric), abs(claimed), 1e-4)
        worst = max(worst, abs(numeric - claimed) / scale)
    return worst
