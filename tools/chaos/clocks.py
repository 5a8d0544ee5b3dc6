"""Wall clocks that are wrong: libfaketime before every program, monotonic time as is.

A clock is an offset in a file that the library reads again every second, so that it
can jump while programs run.
"""

import contextlib
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from wire_protocol.atomic_file import write_atomically

_LIBRARIES: Final = (
    "usr/lib/*/faketime/libfaketime.so.1",
    "usr/lib*/faketime/libfaketime.so.1",
    "usr/local/lib/faketime/libfaketime.so.1",
)
MISSING: Final = "libfaketime is not installed - sudo apt install faketime"
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the library's, not ours


def find_library() -> Path | None:
    """Return the path of libfaketime, or None."""
    for pattern in _LIBRARIES:
        found = sorted(Path("/").glob(pattern))
        if found:
            return found[0]
    return None


class FalseClock:
    """The wall clock of every program that is started with ``prefix``."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self._library = library

    @property
    def prefix(self) -> tuple[str, ...]:
        """Goes before a command, to give it this clock."""
        environ = {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file.absolute()),
            "FAKETIME_CACHE_DURATION": "1",
            # the first name is of version 0.9.9 and older
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        env = shutil.which("env")
        assert env is not None
        return (env, *(f"{name}={value}" for name, value in environ.items()))

    def shift(self, seconds: float) -> None:
        """Show a time that is ``seconds`` from the true one."""
        write_atomically(self._file, f"{seconds:+.3f}\n".encode())

    def set_to(self, epoch_s: float) -> None:
        """Show ``epoch_s``, in seconds since 1970, and go on from there."""
        self.shift(epoch_s - time.time())


def clear_shared_memory(pids: Collection[int]) -> None:
    """Remove what libfaketime leaves of processes that were killed."""
    for pid in pids:
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            with contextlib.suppress(OSError):
                (_SHARED_MEMORY / name).unlink()
