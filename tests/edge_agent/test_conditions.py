"""Conditions: what the system tells, and what is made of it."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.conditions import Readings, hindrance, readings
from edge_agent.config import ConditionSettings
from wire_protocol.errors import ConfigError, Reason

LIMITS = ConditionSettings()
FIT = Readings(33, 21, 65, 80)


def put(root: Path, name: str, content: bytes | str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def battery(
    root: Path, name: str, *, percent: str, status: str, scope: str = ""
) -> None:
    folder = f"sys/class/power_supply/{name}"
    put(root, f"{folder}/type", "Battery\n")
    put(root, f"{folder}/capacity", f"{percent}\n")
    put(root, f"{folder}/status", f"{status}\n")
    if scope:
        put(root, f"{folder}/scope", f"{scope}\n")


def test_everything_that_is_told_is_read(tmp_path: Path) -> None:
    put(tmp_path, "proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   51200 kB\n")
    put(tmp_path, "sys/class/power_supply/AC/type", "Mains\n")
    battery(tmp_path, "BAT0", percent="70", status="Discharging")
    battery(tmp_path, "BAT1", percent="30", status="Discharging")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "45123\n")
    put(tmp_path, "sys/class/thermal/thermal_zone1/temp", "61000\n")
    put(tmp_path, "sys/class/thermal/cooling_device0/temp", "99000\n")
    found = readings(tmp_path / "not" / "made", root=tmp_path)
    assert (found.free_memory_mib, found.battery_percent) == (50, 30)
    assert found.temperature_c == 61
    assert found.free_disk_mib is not None
    assert found.free_disk_mib > 0


def test_a_device_that_tells_nothing_has_no_conditions(tmp_path: Path) -> None:
    found = readings(tmp_path, root=tmp_path)
    assert found == Readings(free_disk_mib=found.free_disk_mib)
    assert hindrance(Readings(), LIMITS) is None


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging"])
def test_a_battery_on_mains_is_no_condition(tmp_path: Path, status: str) -> None:
    battery(tmp_path, "BAT0", percent="3", status=status)
    assert readings(tmp_path, root=tmp_path).battery_percent is None


def test_the_battery_of_a_mouse_is_not_ours(tmp_path: Path) -> None:
    battery(tmp_path, "mouse", percent="3", status="Discharging", scope="Device")
    battery(tmp_path, "BAT0", percent="80", status="Discharging", scope="System")
    assert readings(tmp_path, root=tmp_path).battery_percent == 80


def test_this_machine_tells_its_memory_and_disk(tmp_path: Path) -> None:
    found = readings(tmp_path)
    assert found.free_memory_mib is not None
    assert found.free_disk_mib is not None


UNFIT = {
    "memory": (Readings(free_memory_mib=31), Reason.LOW_MEMORY, "31 MiB.*limit is 32"),
    "battery": (Readings(battery_percent=19), Reason.LOW_BATTERY, "19 %.*limit is 20"),
    "disk": (Readings(free_disk_mib=12.4), Reason.LOW_DISK, "12 MiB.*limit is 64"),
    "heat": (Readings(temperature_c=81), Reason.TOO_HOT, "81 °C.*limit is 80"),
}
OFF = ConditionSettings(0, 0, 0, 0)


@pytest.mark.parametrize("name", UNFIT)
def test_a_limit_that_is_not_kept_is_told_with_its_value(name: str) -> None:
    found, reason, text = UNFIT[name]
    told = hindrance(found, LIMITS)
    assert told is not None
    assert told.reason is reason
    assert re.search(text, told.text)
    assert hindrance(found, OFF) is None
    assert hindrance(FIT, LIMITS) is None


@pytest.mark.parametrize(
    "limits",
    [
        {"min_free_memory_mib": -1},
        {"min_battery_percent": 101},
        {"max_temperature_c": 151},
    ],
)
def test_a_limit_that_cannot_be_meant_is_told(limits: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="0 turns it off"):
        ConditionSettings(**limits)


odd = st.one_of(
    st.binary(max_size=60),
    st.integers().map(lambda number: str(number).encode()),
    st.sampled_from([b"Battery", b"Discharging", b"MemAvailable:", b"\xb2", b"-"]),
)


@given(contents=st.lists(odd, min_size=5, max_size=5))
def test_odd_content_is_no_condition_and_no_error(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    root = tmp_path_factory.mktemp("root")
    for name, content in zip(
        (
            "proc/meminfo",
            "sys/class/power_supply/BAT0/type",
            "sys/class/power_supply/BAT0/capacity",
            "sys/class/power_supply/BAT0/status",
            "sys/class/thermal/thermal_zone0/temp",
        ),
        contents,
        strict=True,
    ):
        put(root, name, content)
    (root / "sys/class/power_supply/BAT1/type").mkdir(parents=True)
    found = readings(root, root=root)
    assert found.battery_percent is None or 0 <= found.battery_percent <= 100
    assert found.temperature_c is None or -60 <= found.temperature_c <= 200
    hindrance(found, LIMITS)
