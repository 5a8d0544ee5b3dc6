"""Chores: tasks that nobody waits for, and whose defects are loud all the same."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from wire_protocol.errors import TransportError

log = logging.getLogger(__name__)


class Chores:
    """Tasks that run beside each other; ``on_defect`` is told what they should not do.

    A link that is down is no defect: what was to be said is said on the next one.
    """

    def __init__(self, *, on_defect: Callable[[Exception], None]) -> None:
        self._on_defect = on_defect
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, call: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin ``call``."""
        task = asyncio.create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def wait(self, *, timeout_s: float) -> None:
        """Wait until all of them have ended, or the time is over."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    async def cancel(self) -> None:
        """Cancel all of them, and wait for their end."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, TransportError):
            log.debug("not sent: %s", error)
        elif isinstance(error, Exception):
            self._on_defect(error)
