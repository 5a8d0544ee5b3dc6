"""Running a scenario: federation and faults side by side, to the end or a failure."""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

from tools.chaos.arena import Arena
from tools.chaos.clocks import clear_shared_memory
from tools.chaos.display import ChaosDisplay
from tools.chaos.leftovers import end, held_ports, running
from tools.chaos.outcome import Carried, Fault
from tools.chaos.scenarios import Scenario
from tools.chaos.staging import Staging
from tools.chaos.witness import Sightings
from tools.demo.children import Children, StoppedEarlyError
from tools.demo.fleet_state import FleetState
from wire_protocol.errors import EdgefedError

PATIENCE_S: Final = 90.0
"""Without a new version for so long, and the longest outage, a run counts as stuck."""
_LOOKS: Final = 30
_LOOK_S: Final = 0.1


class StuckError(EdgefedError):
    """The federation lives, but merges nothing any more."""

    def __init__(self, fleet: FleetState, *, patience_s: float) -> None:
        server = fleet.server
        missing = sorted(set(server.cohort) - set(server.received))
        devices = ", ".join(
            f"{name} {fleet.devices[name].phase}"
            for name in missing
            if name in fleet.devices
        )
        super().__init__(
            f"stuck: nothing after version {server.version} for {patience_s:.0f} s; "
            f"the server was last seen in round {server.round}, {server.phase}, "
            f"without {devices or 'anybody missing'}"
        )


@dataclass(slots=True)
class Run:
    """What came of a run, before its books are read."""

    sightings: Sightings = field(default_factory=Sightings)
    faults: list[Fault] = field(default_factory=list)
    carried: Carried | None = None
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


async def run(staging: Staging, scenario: Scenario, display: ChaosDisplay) -> Run:
    """Run ``scenario`` to its end; what goes wrong is in the result's problems."""
    result = Run()
    sessions: list[int] = []
    ports: list[int] = []
    async with Children() as children:
        try:
            async with staging.arena(
                children, tell=display.fault, show=display.fleet
            ) as arena:
                ports += [arena.port, *(proxy.port for proxy in arena.proxies.values())]
                result.sightings, result.faults = arena.sightings, arena.faults
                try:
                    await _disturb(arena, scenario)
                except EdgefedError as error:
                    result.problems.append(str(error))
                now = asyncio.get_running_loop().time()
                result.seconds = now - arena.began
                result.problems += await _dismiss(arena)
                result.carried = _carried(staging, arena)
                if not result.problems and arena.missed:
                    result.problems.append(
                        f"{arena.missed} faults came too late: the run was over"
                    )
        except EdgefedError as error:  # it could not even begin
            result.problems.append(str(error))
        sessions += children.pids
    result.problems += await _leftovers(sessions, ports)
    clear_shared_memory(sessions)
    return result


async def _disturb(arena: Arena, scenario: Scenario) -> None:
    """Let the federation run, and the faults strike, until the server has ended.

    Raises:
        StoppedEarlyError: A process ended that should not have.
        StuckError: Nothing is merged any more.
    """
    server = arena.server.begin()
    others = {process.begin() for process in (*arena.agents, arena.broker)}
    chores = {
        asyncio.ensure_future(scenario.faults(arena)),
        asyncio.create_task(_lose_patience(arena)),
    }
    watched: set[asyncio.Future[Any]] = {server, *others, *chores}
    try:
        while not server.done():
            done, watched = await asyncio.wait(
                watched, return_when=asyncio.FIRST_COMPLETED
            )
            if server.done():
                break
            for ended in others:
                if ended.done():
                    raise StoppedEarlyError(ended.result())
            for task in done:
                task.result()  # raises what ended the faults, or our patience
        if server.result().process.returncode:
            raise StoppedEarlyError(server.result())
    finally:
        for task in chores:
            task.cancel()
        await asyncio.wait(chores)


async def _lose_patience(arena: Arena) -> None:
    """Raise ``StuckError`` when no new version comes for too long."""
    patience_s = PATIENCE_S + arena.plan.outage_s
    while True:
        known = arena.fleet.server.version
        if not await arena.observer.until(_newer(known), timeout_s=patience_s):
            raise StuckError(arena.fleet, patience_s=patience_s)


def _newer(known: int) -> Callable[[FleetState], bool]:
    return lambda fleet: fleet.server.version > known


async def _dismiss(arena: Arena) -> list[str]:
    """End everybody in order, and save what is on small disks."""
    for proxy in arena.proxies.values():
        proxy.release()
    slow = [
        process.name
        for process, left in zip(
            (arena.server, *arena.agents),
            await asyncio.gather(
                *(process.stop() for process in (arena.server, *arena.agents))
            ),
            strict=True,
        )
        if not left
    ]
    await arena.broker.stop()
    for disk in arena.disks.values():
        with contextlib.suppress(OSError):
            await asyncio.to_thread(disk.copy_to, disk.folder)
    return [f"{name} did not leave when it was told to" for name in slow]


def _carried(staging: Staging, arena: Arena) -> Carried | None:
    if not arena.proxies:
        return None
    tallies = [proxy.tally for proxy in arena.proxies.values()]
    devices = arena.proxies["devices"].tally
    return Carried(
        connections=sum(tally.connections for tally in tallies),
        cuts=sum(tally.cuts for tally in tallies),
        lost=sum(tally.lost for tally in tallies),
        doubled=sum(tally.doubled for tally in tallies),
        device_bytes_up=devices.up,
        device_bytes_down=devices.down,
        artifact_bytes=staging.artifact_bytes(),
    )


async def _leftovers(sessions: Collection[int], ports: Collection[int]) -> list[str]:
    """Return who still runs and which ports are held, after a moment's patience."""
    for _ in range(_LOOKS):
        left = running(sessions)
        if not left:
            break
        await asyncio.sleep(_LOOK_S)
    end(left)
    return [
        *(f"left running: {words} (process {pid})" for pid, words in left.items()),
        *(f"port {port} is still held" for port in held_ports(ports)),
    ]
