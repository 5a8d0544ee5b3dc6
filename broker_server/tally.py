"""The tally of a run: rounds held, versions made, and whether it has come to its end.

This module is pure.
"""

from typing import Literal, TypeAlias

from broker_server.config import ServerConfig
from broker_server.convergence import Progress, has_converged, observe
from broker_server.records import RoundRecord
from broker_server.recovery import Recovered

Ending: TypeAlias = Literal["", "rounds", "converged", "stopped"]


class Tally:
    """What the rounds so far add up to.

    Attributes:
        number: Of the latest round; 0 when there was none.
        last_merged: The newest round that brought a version.
        failures: Rounds that failed since one was merged.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._progress = Progress()
        self.number = 0
        self.last_merged: RoundRecord | None = None
        self.failures = 0

    def resume(self, found: Recovered) -> None:
        """Begin with what was recovered from the store."""
        self.number, self._progress = found.number, found.progress
        self.last_merged = found.last_merged

    def merged(self, record: RoundRecord) -> None:
        """Count a round that brought a version."""
        self.last_merged = record
        self.failures = 0
        self._progress = observe(
            self._progress,
            record.evaluation_loss,
            tolerance=self._config.convergence.tolerance,
        )

    def failed(self) -> None:
        """Count a round that brought none."""
        self.failures += 1

    def ending(self, version: int) -> Ending:
        """Return why the run is over now that ``version`` is the newest; else empty."""
        wanted = self._config.round.rounds
        if wanted and version >= wanted:
            return "rounds"
        if has_converged(self._progress, patience=self._config.convergence.patience):
            return "converged"
        return ""
