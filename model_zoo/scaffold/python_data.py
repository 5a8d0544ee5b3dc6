"""Examples from code of yours: read a sensor, a database, whatever there is.

``examples()`` is what a device asks for (``[data] source = "python"`` in agent.toml);
there it may go on for ever, one example whenever there is one. ``by_device()`` is what
``edgefed demo`` asks for, and must end. Here both make numbers up: replace that.
"""

import random
from collections.abc import Iterator
from itertools import islice

# What the numbers make up: how fast something moves. The LABELS of definition.py.
SPEEDS = (0.0, 1.0, 2.5)
DEVICES = ("kitchen", "hall", "garden", "attic", "cellar")

Example = list[float]


def by_device() -> Iterator[tuple[str, Example, int]]:
    """Yield ``(device, x, y)``."""
    for number, device in enumerate(DEVICES):
        for x, y in islice(_made_up(number), 60):
            yield device, x, y


def examples(start: int = 0) -> Iterator[tuple[Example, int]]:
    """Yield ``(x, y)`` on a device, after the first ``start`` that it has already."""
    return islice(_made_up(0), start, max(start, 60))


def _made_up(seed: int) -> Iterator[tuple[Example, int]]:
    rng = random.Random(seed)  # noqa: S311 - no secret
    offset = rng.gauss(0, 0.3)
    while True:
        label = rng.randrange(len(SPEEDS))
        yield [SPEEDS[label] + offset + rng.gauss(0, 0.4) for _ in range(4)], label
