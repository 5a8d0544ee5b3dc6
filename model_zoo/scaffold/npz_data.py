"""Examples from NPZ files: ``data/<device>.npz``, one for each device.

Write one with ``numpy.savez("kitchen.npz", x=x, y=y)``: ``x`` numbers ``[N, ...]``, as
the model's input_shape has them, and ``y`` the class numbers ``[N]``.

The same file feeds ``edgefed demo`` and a device, where ``data/`` holds what that
device measured (``[data] source = "python"`` in agent.toml). Change what you need; all
that counts is what ``by_device()`` and ``examples()`` yield.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Where the files are.
DATA = Path(__file__).parent / "data"

Example = NDArray[np.float32]


def by_device() -> Iterator[tuple[str, Example, int]]:
    """Yield ``(device, x, y)``."""
    for path in sorted(DATA.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"]
        for one, label in zip(x, y, strict=True):
            yield path.stem, one, int(label)


def examples(start: int = 0) -> Iterator[tuple[Example, int]]:
    """Yield ``(x, y)`` on a device, after the first ``start`` that it has already."""
    return ((x, y) for _, x, y in islice(by_device(), start, None))
