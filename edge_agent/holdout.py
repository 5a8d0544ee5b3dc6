"""Which examples are held out: decided for each alone, for ever, by its number.

An example that sensors made keeps its side whatever comes or goes beside it. This
module is pure.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ONE = np.uint64(1)
_SCALE = 2.0**-64


@dataclass(frozen=True, slots=True)
class Split:
    """Holds a ``fraction`` of all examples out.

    Windows that overlap share samples, so ``run`` of them in a row go the same way, or
    the held-out ones would be known from their neighbours.

    >>> held = Split(0.2, seed=1).held(np.arange(10_000))
    >>> 1900 < int(held.sum()) < 2100
    True
    """

    fraction: float
    seed: int = 0
    run: int = 1

    def held(self, numbers: NDArray[np.int64], *, salt: int = 0) -> NDArray[np.bool_]:
        """Tell of each of ``numbers`` ``[N]`` whether it is held out.

        ``salt`` tells apart series that are numbered from 0 each.
        """
        key = np.array([(self.seed * 0x9E3779B97F4A7C15 + salt) % (1 << 64)], np.uint64)
        runs = numbers.astype(np.uint64) // np.uint64(self.run)
        drawn = _mixed(runs + _mixed(key)).astype(np.float64) * _SCALE
        return drawn < self.fraction


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return splitmix64's output function (Steele, Lea and Flood, OOPSLA 2014)."""
    x = (x + _ONE) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
