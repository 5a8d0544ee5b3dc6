"""Looking at the machine: clock, disk, memory, power and Wi-Fi.

What the system does not tell is None. ``root`` is where ``proc`` and ``sys`` are.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tools.doctor.identity_verdicts import Modes
from tools.doctor.machine_verdicts import ClockFacts, DiskFacts, WifiFacts

ROOT: Final = Path("/")
_MIB: Final = 1 << 20
_FLUSHES: Final = 5
_FLUSHED_BYTES: Final = 4096
_COMMAND_S: Final = 3.0
# Debian keeps what only root uses out of the PATH of ordinary users.
_FOLDERS: Final = ("/usr/sbin", "/sbin", "/usr/local/sbin")
_THROTTLED: Final = "sys/devices/platform/soc/soc:firmware/get_throttled"


def said_by(command: str, *arguments: str) -> str | None:
    """Return what a command printed, even if it failed; None: it is not here."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_FOLDERS))
    program = shutil.which(command, path=path)
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_S,
            check=False,  # mosquitto -h ends with 3
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def look_at_clock(files: Iterable[Path]) -> ClockFacts:
    """Read the clock, beside the times of ``files`` and folders that may be there."""
    told = said_by("timedatectl", "show", "--property=NTPSynchronized", "--value")
    return ClockFacts(
        now=time.time(),
        newest_file=max(filter(None, map(_changed, files)), default=None),
        synchronized={"yes": True, "no": False}.get((told or "").strip()),
    )


def look_at_disk(state_dir: Path, *, written_mib_a_day: float = 0.0) -> DiskFacts:
    """Measure ``state_dir``, or the folder in which it will be made; leave nothing."""
    folder = state_dir.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    room = os.statvfs(folder)
    seconds, problem = None, ""
    try:
        seconds = flush_seconds(folder)
    except OSError as error:
        problem = error.strerror or str(error)
    return DiskFacts(
        folder=state_dir.absolute(),
        within=folder,
        free_mib=room.f_bavail * room.f_frsize / _MIB,
        # some file systems count no files
        free_files=room.f_favail if room.f_files else None,
        flush_s=seconds,
        problem=problem,
        written_mib_a_day=written_mib_a_day,
    )


def flush_seconds(folder: Path) -> float:
    """Return the median time until 4 KiB more are on the disk.

    Raises:
        OSError: Nothing can be written there.
    """
    taken = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(_FLUSHES):
            began = time.perf_counter()
            file.write(os.urandom(_FLUSHED_BYTES))
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def look_at_memory(*, root: Path = ROOT) -> float | None:
    """Return how many MiB a new process may take without swapping."""
    for line in _text(root / "proc/meminfo").splitlines():
        words = line.split()
        if words[:1] == ["MemAvailable:"] and len(words) > 1 and words[1].isdecimal():
            return int(words[1]) / 1024
    return None


def look_at_power(*, root: Path = ROOT) -> int | None:
    """Return what the firmware of a Raspberry Pi says of voltage and heat."""
    text = _text(root / _THROTTLED).strip()
    told = None if text or root != ROOT else said_by("vcgencmd", "get_throttled")
    text = text or (told or "").strip().removeprefix("throttled=")
    try:
        return int(text.removeprefix("0x"), 16)
    except ValueError:
        return None


def look_at_wifi(*, root: Path = ROOT) -> WifiFacts:
    """Return which interfaces are wireless, and whether they save power."""
    wireless = [
        path.name
        for path in sorted((root / "sys/class/net").glob("*"))
        if (path / "wireless").exists() or (path / "phy80211").exists()
    ]
    return WifiFacts({name: power_save(name) for name in wireless})


def power_save(interface: str) -> bool | None:
    """Return whether ``interface`` saves power; None: nobody tells."""
    told = said_by("iw", "dev", interface, "get", "power_save") or ""
    return {"on": True, "off": False}.get(told.strip().lower().rpartition(" ")[2])


def modes_of(folder: Path, *names: str) -> Modes:
    """Return who may use ``folder``, and the secrets in it that are called ``names``.

    Raises:
        OSError: It is not there, or closed to us.
    """
    found = [path for name in names for path in sorted(folder.glob(name))]
    return Modes(
        folder,
        folder.stat().st_mode & 0o777,
        {path: path.stat().st_mode & 0o777 for path in found},
    )


def _changed(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
