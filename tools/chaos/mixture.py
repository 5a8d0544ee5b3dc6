"""Everything at once: faults of all kinds, mixed at random for a while."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeAlias

from tools.chaos.arena import Arena
from tools.chaos.conditions import Conditions
from tools.chaos.kills import strike
from tools.chaos.plan import DAY_S, clock_jump_s
from tools.chaos.processes import Process
from tools.chaos.weather import Weather

Strike: TypeAlias = Callable[[Arena], Awaitable[None]]
_CALM: Final = Weather()
_RAIN: Final = Weather(delay_s=0.05, loss=0.01, doubling=0.1, lag_s=1.0)
_SHORTEST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 3.0
_LONGEST_ABSENCE_S: Final = 4.0
_FULL_S: Final = 2.0

MIXED: Final = Conditions(
    endless=True,
    weather=_CALM,
    server_weather=_CALM,
    small_disks=frozenset({"server", "device"}),
    clock="edgefed",
)


async def everything(arena: Arena) -> None:
    """Strike for ``--seconds``, then be quiet until two more versions are merged."""
    now = asyncio.get_running_loop().time
    await arena.reached(0)
    ends = now() + arena.plan.seconds
    deck: list[Strike] = []
    while now() < ends:
        if not deck:  # every kind before one comes again
            deck = _possible(arena)
            arena.rng.shuffle(deck)
        await asyncio.sleep(arena.rng.uniform(_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S))
        await deck.pop()(arena)
    for proxy in arena.proxies.values():
        proxy.weather = _CALM
    last = max(arena.fleet.server.version + 2, arena.rounds)
    await arena.reached(last)
    arena.server.leave()


def _possible(arena: Arena) -> list[Strike]:
    return [
        *(_kill_server, _kill_agent, _kill_agent, _kill_broker),
        *(_take_away_broker, _take_away_agent, _cut, _hold, _change_weather),
        *([_fill_disk] if arena.disks else []),
        *([_jump] if arena.clock else []),
    ]


async def _kill_server(arena: Arena) -> None:
    await strike(arena, arena.server)


async def _kill_agent(arena: Arena) -> None:
    await strike(arena, arena.rng.choice(arena.agents))


async def _kill_broker(arena: Arena) -> None:
    await strike(arena, arena.broker)


async def _take_away_broker(arena: Arena) -> None:
    await _take_away(arena, arena.broker)


async def _take_away_agent(arena: Arena) -> None:
    await _take_away(arena, arena.rng.choice(arena.agents))


async def _take_away(arena: Arena, victim: Process) -> None:
    away_s = arena.rng.uniform(0.0, _LONGEST_ABSENCE_S)
    await victim.keep_down()
    arena.note("outage", victim.name, f"{away_s:.1f} s")
    await asyncio.sleep(away_s)
    victim.revive()


async def _cut(arena: Arena) -> None:
    name = arena.rng.choice(sorted(arena.proxies))
    arena.proxies[name].cut()
    arena.note("pulled cable", name)


async def _hold(arena: Arena) -> None:
    name = arena.rng.choice(sorted(arena.proxies))
    silent_s = arena.rng.uniform(0.0, _LONGEST_ABSENCE_S)
    arena.proxies[name].hold()
    arena.note("silence", name, f"{silent_s:.1f} s")
    await asyncio.sleep(silent_s)
    arena.proxies[name].release()


async def _change_weather(arena: Arena) -> None:
    name = arena.rng.choice(sorted(arena.proxies))
    heavy = arena.rng.random()
    arena.proxies[name].weather = replace(
        _RAIN,
        delay_s=heavy * _RAIN.delay_s,
        loss=heavy * _RAIN.loss,
        doubling=heavy * _RAIN.doubling,
    )
    arena.note("weather", name, f"{heavy:.0%} of the worst")


async def _fill_disk(arena: Arena) -> None:
    name = arena.rng.choice(sorted(arena.disks))
    disk = arena.disks[name]
    phase = arena.phase_of(name)
    count = disk.fill()
    arena.note("full disk", name, f"{phase}, {count} bytes of ballast")
    await asyncio.sleep(_FULL_S)
    disk.empty()


async def _jump(arena: Arena) -> None:
    assert arena.clock is not None
    off_s = clock_jump_s(arena.rng)
    arena.clock.shift(off_s)
    arena.note("clock", "server, agents", f"{off_s / DAY_S:+.0f} days")
