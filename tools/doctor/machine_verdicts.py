"""What is to be thought of a machine's clock, disk, memory, heat, power and Wi-Fi.

Facts in, findings out. This module is pure.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tools.doctor.findings import Finding, failed, not_measured, ok, warning

BUILT: Final = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
"""No clock that is right shows less."""
SLOW_FLUSH_S: Final = 0.1
_DAY_S: Final = 86_400.0
_AGENT_MIB: Final = 80
_SET_CLOCK: Final = "sudo timedatectl set-ntp true (and let it reach an NTP server)"
_HARMLESS: Final = (
    "training goes on all the same: devices are given durations, not times, and the "
    "fleet's certificates are valid from 1970 on"
)


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """``now`` and ``newest_file`` (of our files) are seconds since 1970.

    ``synchronized`` is what systemd says; None: it does not.
    """

    now: float
    newest_file: float | None = None
    synchronized: bool | None = None


def judge_clock(facts: ClockFacts) -> Finding:
    """Return what is to be thought of the clock."""
    shown = f"{datetime.fromtimestamp(facts.now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    measured = {"now_s": round(facts.now), "synchronized": facts.synchronized}
    if facts.now < BUILT:
        return warning(
            f"{shown}: the clock is wrong; {_HARMLESS}",
            remedy=_SET_CLOCK,
            measured=measured,
        )
    behind = (facts.newest_file or 0.0) - facts.now
    if behind > _DAY_S:
        return warning(
            f"{shown}: the clock went back, our newest file is {behind / _DAY_S:.1f} "
            f"days younger; {_HARMLESS}",
            remedy=_SET_CLOCK,
            measured=measured,
        )
    if facts.synchronized is False:
        return warning(
            f"{shown}, not synchronized; {_HARMLESS}",
            remedy=_SET_CLOCK,
            measured=measured,
        )
    told = ", synchronized" if facts.synchronized else ""
    return ok(f"{shown}{told}", measured=measured)


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """A state folder, measured in ``within``: itself, or where it will be made.

    ``flush_s`` is the median time of a small write and fsync; None with the ``problem``
    that kept it from being measured. ``written_mib_a_day`` is the write budget, or 0.
    """

    folder: Path
    within: Path
    free_mib: float
    free_files: int | None
    flush_s: float | None
    problem: str = ""
    written_mib_a_day: float = 0.0


def judge_disk(facts: DiskFacts, *, least_mib: float) -> Finding:
    """Return what is to be thought of the state folder; less free would not do."""
    measured = {
        "free_mib": round(facts.free_mib, 1),
        "flush_ms": None if facts.flush_s is None else round(1000 * facts.flush_s, 2),
        "write_budget_mib_a_day": facts.written_mib_a_day,
    }
    if facts.flush_s is None:
        return failed(
            f"{facts.folder} cannot be written: {facts.problem}",
            remedy="run this as the user that edgefed runs as; or give it the folder: "
            + _give(facts),
            measured=measured,
        )
    exists = facts.within == facts.folder
    made = "" if exists else ", where the state folder will be made"
    found = (
        f"{facts.free_mib:,.0f} MiB free in {facts.within}{made}; a write reaches the "
        f"disk in {1000 * facts.flush_s:.1f} ms"
    )
    if facts.written_mib_a_day:
        found += f"; examples may write {facts.written_mib_a_day:g} MiB a day"
    room = f"make room (sudo apt clean; du -xh {facts.within} | sort -h | tail)"
    if facts.free_mib < least_mib:
        return failed(
            f"{found}; at least {least_mib:g} MiB are needed",
            remedy=f"{room}, or give state_dir another disk",
            measured=measured,
        )
    if facts.free_files == 0:
        return failed(
            f"{found}, but no more files can be made: inodes are used up",
            remedy="remove small files: sudo find / -xdev -printf '%h\\n' | sort | "
            "uniq -c | sort -n | tail",
            measured=measured,
        )
    if facts.free_mib < 2 * least_mib:
        return warning(
            f"{found}; under {least_mib:g} MiB it will not do",
            remedy=room,
            measured=measured,
        )
    if facts.flush_s > SLOW_FLUSH_S:
        return warning(
            f"{found}, which is slow",
            remedy="see who else writes (sudo iotop -o); an A2 card or an SSD is "
            "faster, and a card near its end is slow",
            measured=measured,
        )
    return ok(found, measured=measured)


def _give(facts: DiskFacts) -> str:
    """Return the command that gives us the folder, and never more than that."""
    if facts.within == facts.folder:
        return f"sudo chown -R $USER {facts.folder}"
    return f"sudo install -d -m 700 -o $USER {facts.folder}"


def judge_memory(
    available_mib: float | None, *, least_mib: float, need_mib: float = _AGENT_MIB
) -> Finding:
    """Return whether a process that needs ``need_mib`` fits beside ``least_mib``."""
    if available_mib is None:
        return not_measured("this system has no /proc/meminfo")
    measured = {"available_mib": round(available_mib, 1), "need_mib": need_mib}
    found = f"{available_mib:,.0f} MiB are available"
    relief = (
        "stop what is not needed (ps aux --sort -rss | head), or add compressed swap: "
        "sudo apt install zram-tools"
    )
    if available_mib < least_mib:
        return failed(
            f"{found}, at least {least_mib:g} must be",
            remedy=relief,
            measured=measured,
        )
    if available_mib < need_mib + least_mib:
        return warning(
            f"{found}; it needs up to {need_mib:g}, and {least_mib:g} must stay free",
            remedy=relief,
            measured=measured,
        )
    return ok(f"{found}, up to {need_mib:g} are needed", measured=measured)


def judge_temperature(celsius: float | None, *, most: float) -> Finding:
    """Return how hot it is beside the limit ``most``, °C; 0: none."""
    if celsius is None:
        return not_measured("this machine tells no temperature")
    measured = {"temperature_c": round(celsius, 1)}
    found = f"{celsius:.0f} °C"
    cooling = "give it a heat sink or a fan, and air"
    if most and celsius > most:
        return failed(
            f"{found}, over [conditions] max_temperature_c = {most:g}: this device "
            "leaves rounds to others",
            remedy=cooling,
            measured=measured,
        )
    if most and celsius > most - 10:
        return warning(
            f"{found}, training will pass the limit of {most:g} °C",
            remedy=cooling,
            measured=measured,
        )
    return ok(found, measured=measured)


# What the firmware of a Raspberry Pi tells, bits 0 to 3: now; 16 to 19: since the boot.
_UNDER_VOLTAGE: Final = 0x1
_SLOWED: Final = 0xE


def judge_power(flags: int | None) -> Finding:
    """Return what ``vcgencmd get_throttled`` means."""
    if flags is None:
        return not_measured("no Raspberry Pi firmware tells (vcgencmd get_throttled)")
    measured = {"throttled": f"{flags:#x}"}
    now, since = flags & 0xF, flags >> 16 & 0xF
    when = "now" if now else "since the last boot"
    told = now or since
    if told & _UNDER_VOLTAGE:
        return warning(
            f"the supply voltage is too low {when}"
            if now
            else f"the supply voltage was too low {when}",
            remedy="use the board's own power supply (5.1 V) and a short, thick cable",
            measured=measured,
        )
    if told & _SLOWED:
        return warning(
            f"the processor is slowed down for heat {when}"
            if now
            else f"the processor was slowed down for heat {when}",
            remedy="give it a heat sink or a fan, and air",
            measured=measured,
        )
    return ok("enough, and not slowed down since the last boot", measured=measured)


@dataclass(frozen=True, slots=True)
class WifiFacts:
    """Wireless interfaces; for each whether it saves power, None: nobody tells."""

    saving: dict[str, bool | None]


def judge_wifi(facts: WifiFacts) -> Finding:
    """Return whether the radio sleeps between messages."""
    if not facts.saving:
        return not_measured("this machine has no Wi-Fi")
    saving = sorted(name for name, on in facts.saving.items() if on)
    names = ", ".join(sorted(facts.saving))
    if saving:
        one = saving[0]
        return warning(
            f"{', '.join(saving)} saves power: messages wait for 100 ms and more, and "
            "connections break",
            remedy=f"sudo iw dev {one} set power_save off; and for ever: "
            "printf '[connection]\\nwifi.powersave = 2\\n' | "
            "sudo tee /etc/NetworkManager/conf.d/wifi-powersave.conf",
            measured={"power_save": True},
        )
    if any(on is None for on in facts.saving.values()):
        return not_measured(
            f"nobody tells whether {names} saves power",
            remedy="sudo apt install iw, and ask again",
        )
    return ok(f"{names} does not save power", measured={"power_save": False})
