"""Processes that are killed and come back, each life with a log of its own."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.demo.children import GRACE_S, Child, Children
from wire_protocol.errors import TransportError

RESTART_S: Final = 0.5
"""When a service manager starts again what could not reach its broker."""


class Process:
    """One command of the federation, kept running until it ends by itself."""

    def __init__(
        self, name: str, command: Sequence[str], *, children: Children, logs: Path
    ) -> None:
        self.name = name
        self.pids: list[int] = []
        self._command = command
        self._children = children
        self._logs = logs
        self._child: Child | None = None
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._up = asyncio.Event()
        self._leaving = False
        self._supervision: asyncio.Task[Child] | None = None

    def begin(self) -> "asyncio.Task[Child]":
        """Start it, once; the task is done when it ended by itself or was told to.

        A process that gave up because nobody answers at the broker's address is
        started again, as a service manager does.
        """
        if self._supervision is None:
            self._supervision = asyncio.create_task(self._supervise())
        return self._supervision

    @property
    def log(self) -> Path:
        """Log of the latest life."""
        return self._logs / f"{self.name}.{len(self.pids)}.log"

    async def _supervise(self) -> Child:
        while True:
            await self._wanted.wait()
            if self._leaving and self._child is not None:
                return self._child
            self.pids.append(0)
            child = await self._children.start_program(
                self.name, self._command, log=self.log
            )
            self.pids[-1] = child.process.pid
            self._child = child
            self._up.set()
            if self._leaving:
                child.process.terminate()
            code = await child.process.wait()
            self._up.clear()
            if self._leaving:
                return child
            if code == TransportError.exit_code:
                await asyncio.sleep(RESTART_S)
            elif code != -signal.SIGKILL:
                return child

    async def kill(self) -> None:
        """Kill it, and whatever it started, without a word; it starts again at once."""
        await self._up.wait()
        self._up.clear()  # whoever kills it next kills its next life
        child = self._child
        assert child is not None
        with contextlib.suppress(ProcessLookupError):
            # every child leads a session, and so a group, of its own
            os.killpg(child.process.pid, signal.SIGKILL)
        await child.process.wait()

    async def keep_down(self) -> None:
        """Kill it, and do not start it again before ``revive``."""
        await self._up.wait()  # or it would never be, to be killed
        self._wanted.clear()
        await self.kill()

    def revive(self) -> None:
        """Start it again."""
        self._wanted.set()

    def leave(self) -> None:
        """Ask it to end, as a user does."""
        self._leaving = True
        self._wanted.set()
        if self._child is not None and self._child.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.process.terminate()

    async def stop(self) -> bool:
        """Ask it to end, and wait for it; False when it does not within ``GRACE_S``."""
        if self._supervision is None:
            return True
        self.leave()
        done, _ = await asyncio.wait({self._supervision}, timeout=GRACE_S)
        return bool(done)

    def abandon(self) -> None:
        """Supervise it no more; whoever holds the children ends it."""
        if self._supervision is not None:
            self._supervision.cancel()
