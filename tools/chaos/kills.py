"""Processes that are killed: SIGKILL at random instants, and started again at once."""

from collections.abc import Callable
from typing import Final

from tools.chaos.arena import Arena
from tools.chaos.processes import Process

SERVER_KILLS: Final = 20
AGENT_KILLS: Final = 20
BROKER_KILLS: Final = 10
QUICK_KILLS: Final = 6


async def kill_server(arena: Arena) -> None:
    """Kill the server."""
    await _kill(arena, SERVER_KILLS, lambda _: arena.server)


async def kill_agents(arena: Arena) -> None:
    """Kill an agent, each time a random one."""
    await _kill(arena, AGENT_KILLS, lambda _: arena.rng.choice(arena.agents))


async def kill_broker(arena: Arena) -> None:
    """Kill the broker; with it go all sessions and retained messages."""
    await _kill(arena, BROKER_KILLS, lambda _: arena.broker)


async def kill_each(arena: Arena) -> None:
    """Kill server, an agent and the broker in turn."""

    def victim(number: int) -> Process:
        agent = arena.rng.choice(arena.agents)
        return (arena.broker, arena.server, agent)[number % 3]

    await _kill(arena, QUICK_KILLS, victim)


async def _kill(arena: Arena, count: int, choose: Callable[[int], Process]) -> None:
    """Kill whom ``choose`` returns for the number of the kill, from 1."""
    async for number in arena.moments(count):
        await strike(arena, choose(number))


async def strike(arena: Arena, victim: Process) -> None:
    """Kill ``victim``, and note in which phase it was."""
    phase = arena.phase_of(victim.name)
    await victim.kill()
    arena.note("kill", victim.name, phase)
