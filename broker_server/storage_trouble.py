"""Storage trouble as the server lives through it: how long to wait, and what to say."""

import logging
from typing import Final

from broker_server.storage_error import StorageError

MAX_PAUSE_S: Final = 60.0
_log = logging.getLogger("edgefed.server")


class StorageTrouble:
    """Pauses that grow while trouble returns at once, and are short again after it."""

    def __init__(self, *, first_pause_s: float) -> None:
        self._first_pause_s = first_pause_s
        self._pause_s = first_pause_s
        self._over_at: float | None = None
        self._said = ""

    def met(self, error: StorageError, *, at: float) -> float:
        """Return for how many seconds to pause; a cause that is news is logged."""
        last = self._over_at
        if last is None or at - last > self._pause_s:
            # It was quiet for longer than the pause before: this is another trouble.
            self._pause_s = self._first_pause_s
            self._said = ""
        else:
            self._pause_s = min(2 * self._pause_s, MAX_PAUSE_S)
        self._over_at = at + self._pause_s
        if error.problem != self._said:
            self._said = error.problem
            _log.error("%s; trying again, in %g s at first", error, self._pause_s)
        return self._pause_s
