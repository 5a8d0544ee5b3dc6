"""The checks of the machine that device and server share."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tools.doctor.device_verdicts import judge_running
from tools.doctor.examination import Check, in_thread
from tools.doctor.findings import Finding
from tools.doctor.identity_verdicts import judge_password
from tools.doctor.locks import is_held
from tools.doctor.machine_probes import (
    look_at_clock,
    look_at_disk,
    look_at_memory,
    look_at_power,
    look_at_wifi,
)
from tools.doctor.machine_verdicts import (
    judge_clock,
    judge_disk,
    judge_memory,
    judge_power,
    judge_wifi,
)


def running_check(what: str, lock: Path) -> Check:
    """Return the check whether ``what``, which holds ``lock``, is running."""
    return threaded(what, lambda: judge_running(held=is_held(lock), what=what))


def clock_check(files: Sequence[Path]) -> Check:
    """Return the check of the clock, beside the times of ``files`` of ours."""
    return threaded("clock", lambda: judge_clock(look_at_clock(files)))


def disk_check(
    state_dir: Path, *, least_mib: float, written_mib_a_day: float = 0.0
) -> Check:
    """Return the check of the state folder."""
    look = partial(look_at_disk, state_dir, written_mib_a_day=written_mib_a_day)
    return threaded("disk", lambda: judge_disk(look(), least_mib=least_mib))


def memory_check(*, least_mib: float, need_mib: float) -> Check:
    """Return the check of the memory."""
    return threaded(
        "memory",
        lambda: judge_memory(look_at_memory(), least_mib=least_mib, need_mib=need_mib),
    )


def board_checks() -> list[Check]:
    """Return the checks of the power supply and the radio."""
    return [
        threaded("power", lambda: judge_power(look_at_power())),
        threaded("wi-fi", lambda: judge_wifi(look_at_wifi())),
    ]


def password_checks(file: Path | None) -> list[Check]:
    """Return the check of a password file, if there is one."""
    if file is None:
        return []
    return [
        threaded("password", lambda: judge_password(file, file.stat().st_mode & 0o777))
    ]


def threaded(name: str, examine: Callable[[], Finding]) -> Check:
    """Return a check that waits for files, and so runs in a thread."""
    return Check(name, lambda: in_thread(examine))
