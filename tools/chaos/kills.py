"""Processes that are killed: SIGKILL at random instants, and started again at once."""

from collections.abc import Callable

from tools.chaos.arena import Arena
from tools.chaos.processes import Process

SERVER_KILLS = AGENT_KILLS = 20
BROKER_KILLS = 10


async def kill_server(arena: Arena) -> None:
    """Kill the server."""
    await _kill(arena, SERVER_KILLS, lambda: arena.server)


async def kill_agents(arena: Arena) -> None:
    """Kill an agent, each time a random one."""
    await _kill(arena, AGENT_KILLS, lambda: arena.rng.choice(arena.agents))


async def kill_broker(arena: Arena) -> None:
    """Kill the broker; with it go all sessions and retained messages."""
    await _kill(arena, BROKER_KILLS, lambda: arena.broker)


async def _kill(arena: Arena, count: int, choose: Callable[[], Process]) -> None:
    async for _ in arena.moments(count):
        victim = choose()
        phase = arena.phase_of(victim.name)
        await victim.kill()
        arena.note("kill", victim.name, phase)
