"""A child process that never outlives us, with a log file of its own, or a pipe."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from broker_server import die_with_parent

_LAUNCHER: Final = Path(die_with_parent.__file__)
_STOP_S: Final = 3.0
_ASK_AGAIN_S: Final = 0.3
_LONGEST_LINE: Final = 1 << 20


async def start_child(
    command: Sequence[str], *, log: Path | None
) -> asyncio.subprocess.Process:
    """Start ``command``, its program by full path; what it prints goes to ``log``.

    Without ``log`` it goes to the child's ``stdout``, which must then be read. It has
    a session of its own, so that Ctrl-C in the terminal reaches only us.
    """
    with contextlib.ExitStack() as stack:
        output = (
            asyncio.subprocess.PIPE
            if log is None
            else stack.enter_context(log.open("wb"))
        )
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-IS",
            str(_LAUNCHER),
            str(os.getpid()),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=_LONGEST_LINE,
        )


async def stop_child(child: asyncio.subprocess.Process) -> None:
    """End the child, gently and then not; leave no zombie.

    It is asked more than once: mosquitto 2.0 forgets a signal that comes right after
    it said that it runs.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _STOP_S
    with contextlib.suppress(ProcessLookupError):
        while loop.time() < deadline:
            child.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), _ASK_AGAIN_S)
                return
        child.kill()
    await child.wait()


def last_line(log: Path) -> str:
    """Return the last line in ``log``, or "" if there is none."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
