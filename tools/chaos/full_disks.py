"""Disks that are full for a while."""

import asyncio
from typing import Final

from tools.chaos.arena import Arena
from tools.chaos.disks import SmallDisk

FULL_S: Final = 3.0
_REFILL_S: Final = 0.05
_FILLS: Final = 2


async def fill_disks(arena: Arena) -> None:
    """Fill every small disk, twice, and keep it full for some seconds."""
    async for _ in arena.moments(_FILLS):
        for name, disk in arena.disks.items():
            await keep_full(arena, name, disk)


async def keep_full(arena: Arena, name: str, disk: SmallDisk) -> None:
    """Fill one disk, and whatever its user frees, for ``FULL_S``."""
    count = disk.fill()
    arena.note("full disk", name, f"{arena.phase_of(name)}, {count} bytes of ballast")
    try:
        async with asyncio.timeout(FULL_S):
            while True:
                await asyncio.sleep(_REFILL_S)
                disk.fill()
    except TimeoutError:
        disk.empty()
