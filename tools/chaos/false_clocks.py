"""Wall clocks that begin in 1970, or jump."""

from datetime import UTC, datetime
from typing import Final

from tools.chaos.arena import Arena
from tools.chaos.plan import DAY_S, clock_jump_s

JUMPS: Final = 6


async def begin_in_1970(arena: Arena) -> None:
    """Let everybody's clock begin a minute after 1970 began, as without a battery."""
    assert arena.clock is not None
    arena.clock.set_to(60.0)
    arena.note("clock", "everybody", "begins in 1970")


async def jump(arena: Arena) -> None:
    """Let the clocks of server and agents jump by days to decades, to and fro."""
    assert arena.clock is not None
    async for _ in arena.moments(JUMPS):
        off_s = clock_jump_s(arena.rng)
        arena.clock.shift(off_s)
        shown = datetime.now(UTC).timestamp() + off_s
        year = datetime.fromtimestamp(max(0.0, shown), UTC).year
        arena.note("clock", "server, agents", f"{off_s / DAY_S:+.0f} days, to {year}")
