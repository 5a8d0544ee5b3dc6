"""Merger: runs a merge in a thread, while the service listens on."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from broker_server.clocks import Clocks
from broker_server.intake import Intake
from broker_server.model_line import ModelLine
from broker_server.round_events import Merged, MergeFailed
from broker_server.storage_error import StorageError
from wire_protocol.errors import DecodeError, EmptyRoundError, EncodeError, Reason

_log = logging.getLogger("edgefed.server")


@dataclass(frozen=True, slots=True)
class Hindered:
    """The merge could not be stored, or what it takes could not be read."""

    error: StorageError


Outcome: TypeAlias = Merged | MergeFailed | Hindered


class Merger:
    """One merge at a time; what comes of it is told when it is over."""

    def __init__(
        self, line: ModelLine, clocks: Clocks, *, tell: Callable[[Outcome], None]
    ) -> None:
        self._line = line
        self._clocks = clocks
        self._tell = tell
        self._task: asyncio.Task[None] | None = None

    def begin(
        self, number: int, *, began: float, intake: Intake, group: asyncio.TaskGroup
    ) -> None:
        """Merge what round ``number`` took; it ``began`` by the steady clock."""
        self._task = group.create_task(self._merge(number, began=began, intake=intake))

    async def settled(self) -> None:
        """Wait until no merge is under way: one may commit yet."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _merge(self, number: int, *, began: float, intake: Intake) -> None:
        refused = intake.take_refused()
        outcome: Outcome = Merged(number)
        try:
            await asyncio.to_thread(
                self._line.merge,
                number,
                began=began,
                clocks=self._clocks,
                refused=refused,
            )
        except StorageError as error:
            intake.restore_refused(refused)
            outcome = Hindered(error)
        except (EncodeError, DecodeError, EmptyRoundError) as error:
            _log.error("round %d cannot be merged: %s", number, error)
            intake.restore_refused(refused)
            intake.count(Reason.NOT_FINITE)
            outcome = MergeFailed(number)
        self._tell(outcome)
