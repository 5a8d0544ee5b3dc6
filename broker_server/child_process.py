"""A child process that never outlives us, with a log file of its own."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from broker_server import die_with_parent

_LAUNCHER: Final = Path(die_with_parent.__file__)


async def start_child(
    command: Sequence[str], *, log: Path
) -> asyncio.subprocess.Process:
    """Start ``command``, its program by full path; what it prints goes to ``log``.

    It has a session of its own, so that Ctrl-C in the terminal reaches only us.
    """
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-IS",
            str(_LAUNCHER),
            str(os.getpid()),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def last_line(log: Path) -> str:
    """Return the last line in ``log``, or "" if there is none."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
