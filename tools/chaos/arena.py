"""The arena: a federation of real processes, and the handles faults reach it by."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tools.chaos.clocks import FalseClock
from tools.chaos.disks import SmallDisk
from tools.chaos.outcome import Fault
from tools.chaos.plan import ChaosPlan, positions
from tools.chaos.processes import Process
from tools.chaos.proxy import Proxy
from tools.chaos.witness import Sightings
from tools.demo.fleet_state import FleetState
from tools.demo.observer import Observer

RECOVERY_S: Final = 1.5
"""About what a process takes to start: a second fault in a round may strike then."""


@dataclass(slots=True)
class Arena:
    """A running federation. Faults act through it, and note what they did."""

    plan: ChaosPlan
    rounds: int
    round_s: float
    rng: Random
    port: int
    observer: Observer
    sightings: Sightings
    broker: Process
    server: Process
    agents: Sequence[Process]
    proxies: Mapping[str, Proxy]
    disks: Mapping[str, SmallDisk]
    clock: FalseClock | None
    tell: Callable[[Fault], None]
    faults: list[Fault] = field(default_factory=list)
    missed: int = 0
    began: float = 0.0

    @property
    def fleet(self) -> FleetState:
        """What the observer knows."""
        return self.observer.fleet

    @property
    def processes(self) -> tuple[Process, ...]:
        """Everybody, the broker last."""
        return (self.server, *self.agents, self.broker)

    def note(self, kind: str, target: str, detail: str = "") -> None:
        """Write down a fault that struck."""
        at_s = asyncio.get_running_loop().time() - self.began
        fault = Fault(round(at_s, 3), kind, target, detail)
        self.faults.append(fault)
        self.tell(fault)

    def phase_of(self, name: str) -> str:
        """Return what a process was last seen doing."""
        server = self.fleet.server
        if name in self.fleet.devices:
            device = self.fleet.devices[name]
            return f"round {device.round}, {device.phase}"
        return f"round {server.round}, {server.phase}"

    async def moments(self, count: int) -> AsyncIterator[int]:
        """Yield at ``count`` random instants, spread over all rounds but the last.

        An instant is within a round's usual time after the version the round begins
        with; a further one in the same round may also strike while somebody still
        starts. None waits longer than the round lasts.
        """
        self.missed = count
        before = -1
        for number, position in enumerate(
            positions(self.rng, count, rounds=self.rounds), start=1
        ):
            version, phase = int(position), position % 1
            await self.reached(version)
            longest = self.round_s + (RECOVERY_S if version == before else 0.0)
            await self.reached(version + 1, timeout_s=phase * longest)
            before = version
            self.missed -= 1
            yield number

    async def reached(self, version: int, *, timeout_s: float | None = None) -> None:
        """Wait until ``version`` is merged and a round was begun, or time is over."""
        await self.observer.until(
            lambda fleet: fleet.server.version >= version and fleet.server.round > 0,
            timeout_s=timeout_s,
        )
