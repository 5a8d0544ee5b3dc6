"""What a run must not leave behind: a process, a port, a shared memory segment."""

import contextlib
import os
import signal
import socket
from collections.abc import Collection
from pathlib import Path

from tools.chaos.proxy import LOOPBACK


def running(sessions: Collection[int]) -> dict[int, str]:
    """Return processes, with their command lines, in the sessions of our children."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # the name, in parentheses, may hold spaces: what follows it does not
            state, _, _, session = (
                (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            )
            if int(session) in sessions and state != "Z":
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(folder.name)] = words.decode(errors="replace").strip()
    return found


def end(processes: Collection[int]) -> None:
    """Kill what was left."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def held_ports(ports: Collection[int]) -> list[int]:
    """Return those of ``ports`` on which somebody still listens."""
    held = []
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                held.append(port)
    return held


def free_port() -> int:
    """Return a port on which nobody listens just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
