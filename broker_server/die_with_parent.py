"""Launcher: become another program that is ended when its parent ends, however.

    python -IS die_with_parent.py PARENT_PID PROGRAM [ARGUMENT...]

A program of its own, because ``preexec_fn`` is unsafe in a process with threads and
``setpriv --pdeathsig`` neither exists everywhere nor notices a parent that ended
before it asked. Linux only; elsewhere it just becomes the program.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Ask the kernel for the signal, then replace this process."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(f"the parent, process {parent}, has already ended")
    os.execv(program[0], program)  # noqa: S606 - a shell is what we avoid


if __name__ == "__main__":
    main()
