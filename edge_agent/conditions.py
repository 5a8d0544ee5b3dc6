"""Whether this device is fit for a round: memory, battery, disk and temperature.

What the system does not tell (no battery, no thermal zone, odd content) is no
condition.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_agent.config import ConditionSettings
from edge_agent.examples import ExampleStore
from wire_protocol.errors import Reason

ROOT: Final = Path("/")
_MIB: Final = 1 << 20
_MOST_BYTES: Final = 16 * 1024
_PLAUSIBLE_C: Final = (-60.0, 200.0)


@dataclass(frozen=True, slots=True)
class Readings:
    """What was measured; None is not known.

    ``battery_percent`` is that of the emptiest battery that is not being charged.
    """

    free_memory_mib: float | None = None
    battery_percent: float | None = None
    free_disk_mib: float | None = None
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why the device leaves a round to others: for the server, and for people."""

    reason: Reason
    text: str


def readings(state_dir: Path, *, root: Path = ROOT) -> Readings:
    """Measure now; ``root`` is where ``proc`` and ``sys`` are."""
    return Readings(
        free_memory_mib=_free_memory_mib(root / "proc/meminfo"),
        battery_percent=min(_batteries(root / "sys/class/power_supply"), default=None),
        free_disk_mib=_free_disk_mib(state_dir),
        temperature_c=max(_temperatures(root / "sys/class/thermal"), default=None),
    )


def hindrance(found: Readings, limits: ConditionSettings) -> Hindrance | None:
    """Return the first of ``limits`` that is not kept, or None."""
    for value, least, reason, what in (
        (
            found.free_memory_mib,
            limits.min_free_memory_mib,
            Reason.LOW_MEMORY,
            "MiB of memory are free",
        ),
        (
            found.battery_percent,
            limits.min_battery_percent,
            Reason.LOW_BATTERY,
            "% are left in the battery",
        ),
        (
            found.free_disk_mib,
            limits.min_free_disk_mib,
            Reason.LOW_DISK,
            "MiB of disk are free",
        ),
    ):
        if value is not None and value < least:
            return Hindrance(reason, f"{value:.0f} {what}, the limit is {least}")
    hottest, most = found.temperature_c, limits.max_temperature_c
    if most and hottest is not None and hottest > most:
        text = f"it is {hottest:.0f} °C hot, the limit is {most}"
        return Hindrance(Reason.TOO_HOT, text)
    return None


def too_few(store: ExampleStore) -> Hindrance | None:
    """Return what to say while there are too few examples to train on, or None."""
    count, least = store.count(), store.min_examples
    if count >= least:
        return None
    return Hindrance(
        Reason.TRAINING_FAILED,
        f"{store.source} has {count} examples to train on, {least} are needed",
    )


def _free_memory_mib(meminfo: Path) -> float | None:
    for line in _text(meminfo).splitlines():
        words = line.split()
        if words[:1] == ["MemAvailable:"] and len(words) > 1:
            kib = _whole(words[1])
            return None if kib is None else kib / 1024
    return None


def _free_disk_mib(state_dir: Path) -> float | None:
    for folder in (state_dir, *state_dir.parents):
        try:
            found = os.statvfs(folder)
        except FileNotFoundError:
            continue  # it is not made yet
        except OSError:
            return None
        return found.f_bavail * found.f_frsize / _MIB
    return None


def _batteries(supplies: Path) -> Iterator[float]:
    for supply in _entries(supplies, "*"):
        if _text(supply / "type").strip() != "Battery":
            continue
        if _text(supply / "scope").strip() == "Device":
            continue  # that of a mouse, not ours
        percent = _whole(_text(supply / "capacity").strip())
        # "Full" and "Not charging" are what a battery on mains says too
        draining = _text(supply / "status").strip() in ("Discharging", "Unknown", "")
        if draining and percent is not None and 0 <= percent <= 100:
            yield percent


def _temperatures(zones: Path) -> Iterator[float]:
    for zone in _entries(zones, "thermal_zone*"):
        millidegrees = _whole(_text(zone / "temp").strip())
        if millidegrees is not None:
            celsius = millidegrees / 1000
            if _PLAUSIBLE_C[0] <= celsius <= _PLAUSIBLE_C[1]:
                yield celsius


def _entries(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("ascii", errors="replace")
    except (OSError, ValueError):
        return ""


def _whole(text: str) -> int | None:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 15):
        return None
    return int(text)
