"""A process that kills itself before the n-th change of a file: ``python -m``.

mortal_process <n> <fleet folder> letter <file> <now>
mortal_process <n> <fleet folder> devices <words of edgefed devices>
"""

import json
import os
import signal
import sys
from pathlib import Path

from broker_server.fleet_folder import FleetFolder
from broker_server.vouching import Letter
from tests.broker_server.small_fleet import ask
from tools.cli import main


def mortal(step: int) -> None:
    """Let this process die before the ``step``-th file is put in place or removed."""
    done = 0

    def count() -> None:
        nonlocal done
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1

    def hook(event: str, args: tuple[object, ...]) -> None:
        # a temporary file that is not there yet is removed before it is written
        if event == "os.rename" or (event == "os.remove" and ".new" not in str(args)):
            count()

    sys.addaudithook(hook)


def run() -> int:
    """Do what the command line says, until the end or the kill."""
    step, folder, what, *rest = sys.argv[1:]
    mortal(int(step))
    if what == "devices":
        return main(["devices", *rest, "--fleet-dir", folder])
    plain = json.loads(Path(rest[0]).read_text())
    letter = Letter(plain["sender"], plain["name"], bytes.fromhex(plain["payload"]))
    ask(FleetFolder(Path(folder)), letter, now=float(rest[1]))
    return 0


if __name__ == "__main__":
    sys.exit(run())
