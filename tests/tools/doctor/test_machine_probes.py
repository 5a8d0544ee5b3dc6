"""The machine is looked at, and left as it was."""

import fcntl
import os
from pathlib import Path

import pytest

from edge_agent.state_files import LOCK, held_alone
from tools.doctor.locks import is_held
from tools.doctor.machine_probes import (
    look_at_clock,
    look_at_disk,
    look_at_memory,
    look_at_power,
    look_at_wifi,
    modes_of,
    said_by,
)

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


def _file(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_clock_is_read_beside_the_newest_file(tmp_path: Path) -> None:
    for name, at in (("old", 1000), ("new", 2000)):
        _file(tmp_path, name, "")
        os.utime(tmp_path / name, (at, at))
    files = [tmp_path / name for name in ("old", "new", "none")]
    assert look_at_clock(files).newest_file == 2000
    assert look_at_clock([]).newest_file is None


def test_a_state_folder_is_measured_and_nothing_stays(tmp_path: Path) -> None:
    facts = look_at_disk(tmp_path)
    assert facts.folder == facts.within == tmp_path
    assert facts.flush_s is not None
    assert facts.free_mib > 0
    assert list(tmp_path.iterdir()) == []


def test_a_state_folder_that_is_to_be_is_not_made(tmp_path: Path) -> None:
    facts = look_at_disk(tmp_path / "state" / "kitchen")
    assert (facts.within, facts.folder) == (tmp_path, tmp_path / "state/kitchen")
    assert list(tmp_path.iterdir()) == []


def test_a_state_folder_that_cannot_be_written_says_why() -> None:
    facts = look_at_disk(Path("/proc/1"))
    assert facts.flush_s is None
    assert facts.problem


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("MemTotal: 9 kB\nMemAvailable:   204800 kB\n", 200.0),
        ("MemTotal: 9 kB\n", None),
        ("MemAvailable: lots\n", None),
        ("MemAvailable:\n", None),
    ],
)
def test_memory_is_what_is_available(
    tmp_path: Path, text: str, mib: float | None
) -> None:
    assert look_at_memory(root=tmp_path) is None
    _file(tmp_path, "proc/meminfo", text)
    assert look_at_memory(root=tmp_path) == mib


@pytest.mark.parametrize(
    ("text", "flags"), [("50005\n", 0x50005), ("0x0\n", 0), ("?\n", None)]
)
def test_the_firmware_of_a_board_tells_of_its_power(
    tmp_path: Path, text: str, flags: int | None
) -> None:
    assert look_at_power(root=tmp_path) is None
    _file(tmp_path, THROTTLED, text)
    assert look_at_power(root=tmp_path) == flags


def test_only_wireless_interfaces_are_wireless(tmp_path: Path) -> None:
    for name in ("eth0/mtu", "doctor0/wireless/x", "doctor1/phy80211/x"):
        _file(tmp_path / "sys/class/net", name, "")
    # no such interface here, so nobody tells whether it saves power
    saving = look_at_wifi(root=tmp_path).saving
    assert saving == {"doctor0": None, "doctor1": None}


def test_a_command_that_is_not_here_says_nothing() -> None:
    assert said_by("edgefed-no-such-command") is None


def test_a_lock_is_held_while_somebody_holds_it(tmp_path: Path) -> None:
    lock = tmp_path / LOCK
    assert is_held(lock) is None
    assert not lock.exists()
    with held_alone(tmp_path):
        assert is_held(lock) is True
    assert is_held(lock) is False


def test_looking_does_not_keep_an_agent_out(tmp_path: Path) -> None:
    with held_alone(tmp_path):
        pass
    assert is_held(tmp_path / LOCK) is False
    with (tmp_path / LOCK).open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_modes_of_secrets_are_those_on_disk(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    for name, mode in (("a.key", 0o640), ("a.crt", 0o644)):
        _file(tmp_path, name, "")
        (tmp_path / name).chmod(mode)
    modes = modes_of(tmp_path, "*.key")
    assert modes.folder_mode == 0o750
    assert modes.secrets == {tmp_path / "a.key": 0o640}
