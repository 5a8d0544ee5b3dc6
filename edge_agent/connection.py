"""The connection to the broker, as people are told of it."""

import logging
from collections.abc import Callable
from typing import Final

BRIEF_S: Final = 5.0
"""A connection that ends sooner was probably taken over by a device of our name."""
log = logging.getLogger(__name__)


class Connection:
    """Whether there is one, and how they have ended so far."""

    def __init__(self, *, device: str, clock: Callable[[], float]) -> None:
        self._device = device
        self._clock = clock
        self._count = 0
        self._since = 0.0
        self.up = False

    def began(self) -> None:
        """Note that there is one."""
        self._count += 1
        self._since = self._clock()
        self.up = True

    def ended(self, reason: str) -> None:
        """Say that there is none (any more), and what may be the cause."""
        self.up = False
        log.warning("no broker: %s%s", reason, self._rival())

    def _rival(self) -> str:
        """Hint at the likeliest cause when connections end as soon as they begin."""
        if self._count < 2 or self._clock() - self._since > BRIEF_S:
            return ""
        return f" (is another agent running as {self._device!r}?)"
