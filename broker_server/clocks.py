"""Clocks: where time comes from, as an argument. A test brings its own."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clocks:
    """``wall`` is for people, ``steady`` measures; both in seconds."""

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
