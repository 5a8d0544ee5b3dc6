"""Child processes that never outlive us: stopped in order, or killed by the kernel.

Every child has a session of its own, so that Ctrl-C in the terminal reaches only the
parent, which then stops the children one after the other.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from broker_server.child_process import last_line, start_child
from wire_protocol.errors import EdgefedError

GRACE_S: Final = 10.0
"""How long a child may take to leave by itself."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running command of ours and the file that takes what it says."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def last_words(self) -> str:
        """Return the last line the child wrote, without the command's own prefix."""
        last = last_line(self.log).removeprefix("edgefed: ")
        return last or f"it said nothing (exit code {self.process.returncode})"


class StoppedEarlyError(EdgefedError):
    """A process of the federation ended before the federation did."""

    def __init__(self, child: Child) -> None:
        super().__init__(
            f"{child.name} stopped early: {child.last_words()}",
            remedy=f"read {child.log}",
        )
        self.exit_code = child.process.returncode or 1


class Children:
    """The children of one run; leaving the context stops those that still run."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.shield(self.stop(self._children))

    @property
    def pids(self) -> list[int]:
        """Everybody who was ever started here; each led a session of its own."""
        return [child.process.pid for child in self._children]

    async def start(self, name: str, words: Sequence[str], *, log: Path) -> Child:
        """Start ``edgefed`` with ``words``; what it prints goes to ``log``."""
        return await self.start_program(name, edgefed_command(words), log=log)

    async def start_program(
        self, name: str, command: Sequence[str], *, log: Path
    ) -> Child:
        """Start any ``command``, its program by full path."""
        process = await start_child(command, log=log)
        child = Child(name, process, log)
        self._children.append(child)
        return child

    async def stop(self, children: Sequence[Child]) -> None:
        """Ask ``children`` to leave; kill those that do not within ``GRACE_S``."""
        for child in children:
            _signal(child, signal.SIGTERM)
        waits = [asyncio.create_task(child.process.wait()) for child in children]
        if waits:
            await asyncio.wait(waits, timeout=GRACE_S)
        for child in children:
            _signal(child, signal.SIGKILL)
        for child in children:
            await child.process.wait()


def edgefed_command(words: Sequence[str]) -> list[str]:
    """Return the command that runs ``edgefed`` with ``words``, this very code."""
    return [sys.executable, "-m", "tools.cli", *words]


def _signal(child: Child, number: signal.Signals) -> None:
    if child.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(number)
