"""What is thought of a machine: a case for every verdict and remedy."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.doctor.verdict_cases import Case
from tools.doctor.findings import Verdict
from tools.doctor.machine_verdicts import (
    BUILT,
    ClockFacts,
    DiskFacts,
    WifiFacts,
    judge_clock,
    judge_disk,
    judge_memory,
    judge_power,
    judge_temperature,
    judge_wifi,
)

NOW = BUILT + 2 * 365 * 86_400
DISK = DiskFacts(Path("/s"), Path("/s"), free_mib=5000, free_files=9, flush_s=0.004)


def _disk(**changes: object) -> DiskFacts:
    return replace(DISK, **changes)  # type: ignore[arg-type]


CASES = [
    Case("clock", judge_clock(ClockFacts(NOW)), "ok", "2025-12-31"),
    Case(
        "clock-synchronized",
        judge_clock(ClockFacts(NOW, NOW - 5, synchronized=True)),
        "ok",
        "UTC, synchronized",
    ),
    Case(
        "clock-1970",
        judge_clock(ClockFacts(12.0)),
        "warning",
        "1970-01-01 00:00:12 UTC: the clock is wrong; training goes on all the same",
        "timedatectl set-ntp true",
    ),
    Case(
        "clock-back",
        judge_clock(ClockFacts(NOW, NOW + 3 * 86_400)),
        "warning",
        "3.0 days younger",
        "set-ntp",
    ),
    Case("clock-close", judge_clock(ClockFacts(NOW, NOW + 60)), "ok", "2025-12-31"),
    Case(
        "clock-free",
        judge_clock(ClockFacts(NOW, synchronized=False)),
        "warning",
        "not synchronized",
        "set-ntp",
    ),
    Case("disk", judge_disk(DISK, least_mib=64), "ok", "in 4.0 ms"),
    Case(
        "disk-budget",
        judge_disk(_disk(written_mib_a_day=8.5), least_mib=64),
        "ok",
        "may write 8.5 MiB a day",
    ),
    Case(
        "disk-to-be",
        judge_disk(_disk(within=Path("/")), least_mib=64),
        "ok",
        "where the state folder will be made",
    ),
    Case(
        "disk-closed",
        judge_disk(_disk(flush_s=None, problem="Permission denied"), least_mib=64),
        "failed",
        "/s cannot be written: Permission denied",
        "chown -R $USER /s",
    ),
    Case(
        "disk-not-for-us",
        judge_disk(
            _disk(within=Path("/"), flush_s=None, problem="Permission denied"),
            least_mib=64,
        ),
        "failed",
        "/s cannot be written: Permission denied",
        "sudo install -d -m 700 -o $USER /s",
    ),
    Case(
        "disk-full",
        judge_disk(_disk(free_mib=63), least_mib=64),
        "failed",
        "at least 64 MiB are needed",
        "apt clean",
    ),
    Case(
        "disk-inodes",
        judge_disk(_disk(free_files=0), least_mib=64),
        "failed",
        "inodes",
        "remove small files",
    ),
    Case(
        "disk-uncounted",
        judge_disk(_disk(free_files=None), least_mib=64),
        "ok",
        "5,000 MiB free",
    ),
    Case(
        "disk-tight",
        judge_disk(_disk(free_mib=100), least_mib=64),
        "warning",
        "under 64 MiB it will not do",
        "make room",
    ),
    Case(
        "disk-slow",
        judge_disk(_disk(flush_s=0.4), least_mib=64),
        "warning",
        "400.0 ms, which is slow",
        "iotop",
    ),
    Case("memory", judge_memory(900, least_mib=32), "ok", "up to 80 are needed"),
    Case("memory-unknown", judge_memory(None, least_mib=32), "not measured", "meminfo"),
    Case(
        "memory-tight",
        judge_memory(111, least_mib=32, need_mib=80),
        "warning",
        "it needs up to 80, and 32 must stay free",
        "zram",
    ),
    Case(
        "memory-short",
        judge_memory(31, least_mib=32),
        "failed",
        "at least 32 must be",
        "zram",
    ),
    Case("heat", judge_temperature(55, most=80), "ok", "55 °C"),
    Case("heat-unknown", judge_temperature(None, most=80), "not measured", "tells no"),
    Case("heat-no-limit", judge_temperature(95, most=0), "ok", "95 °C"),
    Case(
        "heat-close",
        judge_temperature(75, most=80),
        "warning",
        "will pass the limit of 80",
        "heat sink",
    ),
    Case(
        "heat-over",
        judge_temperature(81, most=80),
        "failed",
        "max_temperature_c = 80",
        "heat sink",
    ),
    Case("power", judge_power(0), "ok", "not slowed down"),
    Case("power-unknown", judge_power(None), "not measured", "vcgencmd"),
    Case(
        "power-low",
        judge_power(0x50005),
        "warning",
        "voltage is too low now",
        "5.1 V",
    ),
    Case(
        "power-was-low",
        judge_power(0x50000),
        "warning",
        "was too low since the last boot",
        "5.1 V",
    ),
    Case(
        "power-slowed",
        judge_power(0xE0008),
        "warning",
        "is slowed down for heat now",
        "heat sink",
    ),
    Case(
        "power-was-slowed",
        judge_power(0x80000),
        "warning",
        "was slowed down for heat since the last boot",
        "heat sink",
    ),
    Case("wifi-none", judge_wifi(WifiFacts({})), "not measured", "has no Wi-Fi"),
    Case("wifi-awake", judge_wifi(WifiFacts({"wlan0": False})), "ok", "wlan0 does not"),
    Case(
        "wifi-untold",
        judge_wifi(WifiFacts({"wlan0": None})),
        "not measured",
        "nobody tells",
        "apt install iw",
    ),
    Case(
        "wifi-asleep",
        judge_wifi(WifiFacts({"wlan0": False, "wlan1": True})),
        "warning",
        "wlan1 saves power",
        "sudo iw dev wlan1 set power_save off",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_facts_have_their_verdict_and_remedy(case: Case) -> None:
    case.hold()


def test_power_save_is_turned_off_for_ever_too() -> None:
    remedy = judge_wifi(WifiFacts({"wlan0": True})).remedy
    assert "wifi.powersave = 2" in remedy


SECONDS = st.floats(0, 1e10)


@given(SECONDS, st.none() | SECONDS, st.none() | st.booleans())
def test_no_clock_hinders(now: float, newest: float | None, ntp: bool | None) -> None:
    facts = ClockFacts(now, newest, synchronized=ntp)
    assert judge_clock(facts).verdict in (Verdict.OK, Verdict.WARNING)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 10))
def test_more_room_is_never_worse(free: float, more: float, flush: float) -> None:
    order = [Verdict.FAILED, Verdict.WARNING, Verdict.OK]
    facts = _disk(free_mib=free, flush_s=flush)
    less = judge_disk(facts, least_mib=64)
    larger = judge_disk(replace(facts, free_mib=free + more), least_mib=64)
    assert order.index(larger.verdict) >= order.index(less.verdict)


@given(st.integers(0, 2**32))
def test_any_flags_of_the_firmware_are_judged(flags: int) -> None:
    told = judge_power(flags)
    assert (told.verdict is Verdict.OK) == (not flags & 0xF000F)
