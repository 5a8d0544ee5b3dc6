"""A broker that is away for a while."""

import asyncio

from tools.chaos.arena import Arena


async def broker_outage(arena: Arena) -> None:
    """Take the broker away for ``--outage-s``, in the middle of the run."""
    async for _ in arena.moments(1):
        await arena.broker.keep_down()
        away_s = arena.plan.outage_s
        arena.note("outage", "broker", f"{away_s:g} s")
        await asyncio.sleep(away_s)
        arena.broker.revive()
