"""Whether an agent or a server is at work on a state folder, seen by its lock."""

import fcntl
from pathlib import Path


def is_held(lock: Path) -> bool | None:
    """Return whether a process holds ``lock`` now; None: nobody ever did.

    Nothing is made: a file of root's would keep the agent's own user out.

    Raises:
        OSError: It may not be read.
    """
    try:
        file = lock.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
