"""The roster: what it sees of changes on the disk, and what it makes of them."""

import os
from pathlib import Path

import pytest

from broker_server.fleet_folder import FleetFolder
from broker_server.roster import EVERYBODY, Roster
from tests.broker_server.small_fleet import NOW, key_of, member, small_fleet
from wire_protocol.errors import ConfigError, DecodeError, Reason, TrustError


@pytest.fixture
def folder(tmp_path: Path) -> FleetFolder:
    made = small_fleet(tmp_path)
    member(made, "kitchen")
    member(made, "hall")
    return made


def reason_for(roster: Roster, device: str) -> Reason:
    try:
        roster.check_admitted(device)
    except DecodeError as error:
        return error.reason
    return Reason.ACCEPTED


def test_changes_are_seen_at_the_next_look(folder: FleetFolder) -> None:
    roster = Roster(folder)
    assert set(roster.members) == {"kitchen", "hall"}
    assert roster.refresh() == frozenset()
    folder.revoke("kitchen", why="lost", now=NOW)
    assert reason_for(roster, "kitchen") is Reason.ACCEPTED
    assert roster.refresh() == {"kitchen"}
    assert reason_for(roster, "kitchen") is Reason.REVOKED
    assert roster.refresh() == frozenset()
    member(folder, "cellar")
    assert reason_for(roster, "cellar") is Reason.UNKNOWN_DEVICE
    assert roster.refresh() == frozenset()
    assert reason_for(roster, "cellar") is Reason.ACCEPTED


def test_who_is_forgotten_is_told_whether_revoked_before_or_not(
    folder: FleetFolder,
) -> None:
    folder.revoke("kitchen", why="", now=NOW)
    roster = Roster(folder)
    assert roster.locked_out == {"kitchen"}
    for device in ("kitchen", "hall"):
        folder.forget_member(folder.known_member(device))
    assert roster.refresh() == {"kitchen", "hall"}
    assert reason_for(roster, "kitchen") is Reason.UNKNOWN_DEVICE


def test_a_second_change_with_the_stamp_of_the_first_is_seen(
    folder: FleetFolder,
) -> None:
    roster = Roster(folder)
    first = roster.refresh()
    folder.revoke("kitchen", why="", now=NOW)
    roster.refresh()
    stamps = folder.path / "members"
    before = stamps.stat()
    folder.revoke("hall", why="", now=NOW)
    # the clock of the file system stood still meanwhile
    os.utime(stamps, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert first == frozenset()
    assert roster.refresh() == {"hall"}


def test_a_damaged_file_changes_nobody(folder: FleetFolder) -> None:
    roster = Roster(folder)
    (folder.path / "members" / ".x").touch()
    path = folder.path / "members/kitchen.json"
    kept = path.read_bytes()
    path.write_bytes(b"{")
    with pytest.raises(ConfigError, match=r"kitchen\.json"):
        roster.refresh()
    assert reason_for(roster, "kitchen") is Reason.ACCEPTED
    path.write_bytes(kept)
    assert roster.refresh() == frozenset()


def test_an_update_is_by_its_device(folder: FleetFolder) -> None:
    roster = Roster(folder)
    raw = key_of("kitchen").seal("up", b"frame")
    assert roster.unseal("kitchen", "up", raw) == b"frame"
    for device, context in (("hall", "up"), ("kitchen", "down"), ("nobody", "up")):
        with pytest.raises(TrustError):
            roster.unseal(device, context, raw)
    with pytest.raises(TrustError):
        roster.unseal("kitchen", "up", b"frame")


def test_without_a_fleet_everybody_is_admitted() -> None:
    assert reason_for(EVERYBODY, "anybody") is Reason.ACCEPTED
    assert EVERYBODY.unseal("anybody", "up", b"frame") == b"frame"
    assert EVERYBODY.refresh() == frozenset()
