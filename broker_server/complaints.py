"""Complaints: warnings about what goes on and on, told once a minute each."""

import logging
from collections.abc import Callable
from typing import Final

from broker_server.limits import Meters, Rate

EVERY_S: Final = 60.0
_log = logging.getLogger("edgefed.server")


class Complaints:
    """What was complained about of late; ``clock`` is steady, in seconds.

    Of more than ``most_names`` subjects at a time, the rest count as one.
    """

    def __init__(self, clock: Callable[[], float], *, most_names: int) -> None:
        self._clock = clock
        self._told = Meters(Rate(1 / EVERY_S, 1), most_names=most_names)

    def about(self, subject: str, told: str) -> bool:
        """Warn, unless that was done a short while ago; return whether it was now."""
        due = self._told.take(subject, 1, now=self._clock())
        if due:
            _log.warning("%s", told)
        return due
