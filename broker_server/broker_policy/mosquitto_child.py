"""mosquitto as a child: started, told to read its files again, stopped; heard."""

import asyncio
import contextlib
import logging
import re
import signal
from pathlib import Path
from typing import Final

from broker_server.broker_policy.program import Program
from broker_server.child_process import start_child, stop_child
from wire_protocol.errors import RefusedError

_log = logging.getLogger("edgefed.mosquitto")
_START_S: Final = 30.0
_HARMLESS: Final = re.compile(
    "Warning: (ACL pattern '.*' does not contain|The .* is now deprecated)"
).match
"""Patterns without a name are what everybody may read."""


class MosquittoChild:
    """One run of ``program`` with the configuration ``config``."""

    def __init__(self, program: Program, config: Path) -> None:
        self._program = program
        self._config = config
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._running = asyncio.Event()
        self._said = ""

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        assert self._child is not None
        return self._child.pid

    async def start(self) -> None:
        """Start it, and wait until it accepts connections.

        Raises:
            RefusedError: It ended, or says nothing.
        """
        command = [self._program.path, "-c", str(self._config)]
        self._child = await start_child(command, log=None)
        self._reader = asyncio.create_task(self._read(self._child))
        running = asyncio.create_task(self._running.wait())
        try:
            await asyncio.wait(
                {running, self._reader},
                timeout=_START_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            running.cancel()
        if not self._running.is_set():
            await self.stop()
            raise RefusedError(
                f"mosquitto did not start: {self._said or 'it said nothing'}",
                remedy=f"see {self._config}, and 'edgefed broker check'",
            )

    def reload(self) -> None:
        """Make it read access list, revoked certificates and its own again."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGHUP)

    async def ended(self) -> int:
        """Wait until it has ended; return its exit code."""
        assert self._child is not None
        return await self._child.wait()

    async def stop(self) -> None:
        """End it."""
        if self._child is not None:
            await stop_child(self._child)
        if self._reader is not None:
            await asyncio.wait({self._reader})

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None
        while raw := await child.stdout.readline():
            line = raw.decode(errors="replace").rstrip()
            if line.endswith(" running"):
                self._running.set()
            if line.startswith("Error"):
                self._said = line
            alarming = line.startswith(("Error", "Warning")) and not _HARMLESS(line)
            _log.log(logging.WARNING if alarming else logging.DEBUG, "%s", line)
