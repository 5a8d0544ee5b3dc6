"""Patience: the timers that end the server's waiting for devices.

A timer that runs out puts an event into the service's inbox; what is then still so,
and what follows from it, is the service's to decide.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, TypeAlias

from broker_server.round_events import DeadlinePassed

SILENCE: Final = 5
"""Resend times without a word; a device's own reconnection usually takes less."""
BUSY: Final = 30
"""Resend times for which a slow device is not asked again."""
MAX_PAUSE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class RollCallOver:
    """Whoever is there has had the time to say so, on a new connection."""


@dataclass(frozen=True, slots=True)
class GraceOver:
    """A device was offline for all of its grace, while the round waited for it."""

    round: int
    device: str


@dataclass(frozen=True, slots=True)
class BusyOver:
    """Devices were left to finish an update for long enough: invite them again.

    One that is still at work says so; one whose word was lost would wait for ever.
    """

    devices: frozenset[str]


@dataclass(frozen=True, slots=True)
class PauseOver:
    """Enough time has passed since a failed round."""


Wakeup: TypeAlias = DeadlinePassed | RollCallOver | GraceOver | BusyOver | PauseOver


class Patience:
    """One timer of each kind, but a grace for each device; needs a running loop."""

    def __init__(self, wake: Callable[[Wakeup], None], *, resend_s: float) -> None:
        self._wake = wake
        self._resend_s = resend_s
        self._deadline: asyncio.TimerHandle | None = None
        self._roll_call: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._graces: dict[GraceOver, asyncio.TimerHandle] = {}
        self._busy: frozenset[str] = frozenset()

    @property
    def grace_s(self) -> float:
        """How long an offline device is waited for."""
        return SILENCE * self._resend_s

    @property
    def pausing(self) -> bool:
        """Whether it is too early for another round."""
        return self._pause is not None

    def set_deadline(self, passed: DeadlinePassed, *, after_s: float) -> None:
        """End a round after this time; one that was set stays as it is."""
        if self._deadline is None:
            self._deadline = self._later(after_s, passed)

    def lift_deadline(self) -> None:
        """Let the round that ended be."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def call_roll(self) -> None:
        """Give every device the time to be heard; a call before this one is void."""
        self.stop_roll_call()
        self._roll_call = self._later(self.grace_s, RollCallOver())

    def stop_roll_call(self) -> None:
        """Do not count silence: nobody could be heard."""
        if self._roll_call is not None:
            self._roll_call.cancel()

    def await_return(self, number: int, absent: Collection[str]) -> None:
        """Let the grace run of just these devices; those it runs for go on."""
        wanted = {GraceOver(number, device) for device in absent}
        for grace in self._graces.keys() - wanted:
            self._graces.pop(grace).cancel()
        for grace in wanted - self._graces.keys():
            self._graces[grace] = asyncio.get_running_loop().call_later(
                self.grace_s, self._end_grace, grace
            )

    def leave_to_finish(self, busy: frozenset[str]) -> None:
        """Let the ``busy`` finish what they have begun, undisturbed for a while."""
        new = busy - self._busy
        if new:
            self._later(BUSY * self._resend_s, BusyOver(new))
        self._busy = busy

    def pause(self, failures: int) -> None:
        """Put the next round off, for longer with every failure before this one.

        Without it, devices that all decline at once would be asked for ever.
        """
        pause_s = min(self._resend_s * 2 ** min(failures, 16), MAX_PAUSE_S)
        self._pause = self._later(pause_s, PauseOver())

    def end_pause(self) -> None:
        """Allow the next round."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def close(self) -> None:
        """Stop every timer."""
        self.lift_deadline()
        self.stop_roll_call()
        self.end_pause()
        self.await_return(0, ())

    def _end_grace(self, grace: GraceOver) -> None:
        # Forgotten first: a device that is back for a moment gets another one.
        del self._graces[grace]
        self._wake(grace)

    def _later(self, delay_s: float, wakeup: Wakeup) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay_s, self._wake, wakeup)
