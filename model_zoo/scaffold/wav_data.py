"""Examples from sounds: ``data/<device>/<label>/*.wav``, 16 bits, about a second each.

``mfcc.py`` beside this file makes a small picture of each, ``[49, 10]``. On a device it
must be beside it, too, since what feeds a model must compute what it was trained on.

The same file feeds ``edgefed demo`` and a device, where ``data/`` holds what that
device measured (``[data] source = "python"`` in agent.toml). Change what you need; all
that counts is what ``by_device()`` and ``examples()`` yield.
"""

import importlib
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Where the files are.
DATA = Path(__file__).parent / "data"
# Names of the folders with a class's sounds: the LABELS of definition.py.
LABELS = ("still", "slow", "fast")

Example = NDArray[np.float32]

sys.path.insert(0, str(Path(__file__).parent))
mfcc = importlib.import_module("mfcc")


def by_device() -> Iterator[tuple[str, Example, int]]:
    """Yield ``(device, x, y)``."""
    for path in sorted(DATA.glob("*/*/*.wav")):
        label, device = path.parent.name, path.parent.parent.name
        yield device, mfcc.mfcc(mfcc.read_wav(path)), LABELS.index(label)


def examples(start: int = 0) -> Iterator[tuple[Example, int]]:
    """Yield ``(x, y)`` on a device, after the first ``start`` that it has already."""
    return ((x, y) for _, x, y in islice(by_device(), start, None))
