"""The fleet's folder: for its owner only, whole or absent, and never founded twice."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from broker_server.fleet import Fleet
from broker_server.fleet_folder import BROKER_NAME, LONG_S, SERVER_NAME, FleetFolder
from tests.broker_server.small_fleet import NOW, applicant, drawn, member, small_fleet
from wire_protocol.certificates import (
    check_issued,
    read_certificate,
    read_revocation_list,
)
from wire_protocol.errors import ConfigError, DecodeError, RefusedError


@pytest.fixture
def folder(tmp_path: Path) -> FleetFolder:
    return small_fleet(tmp_path)


def listed(folder: FleetFolder) -> tuple[int, frozenset[str]]:
    return read_revocation_list((folder.path / "revoked.crl").read_bytes())


def test_everything_in_it_is_for_its_owner_only(folder: FleetFolder) -> None:
    member(folder, "kitchen")
    applicant(folder, "hall")
    folder.revoke("kitchen", why="", now=NOW)
    modes = {
        path: stat.S_IMODE(path.stat().st_mode)
        for path in (folder.path, *folder.path.rglob("*"))
    }
    assert len(modes) > 12
    for path, mode in modes.items():
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_its_certificates_are_by_its_authority(folder: FleetFolder) -> None:
    authority = folder.authority.certificate
    server, broker = folder.server_certificate(), folder.broker_certificate()
    assert (server.name, broker.name) == (SERVER_NAME, BROKER_NAME)
    for one in (server, broker):
        check_issued(one, by=authority)
        assert one.not_after == pytest.approx(NOW + LONG_S, abs=1)
    keys = {server.public, broker.public, authority.public, folder.signer.public}
    assert len(keys) == 4


def test_a_second_fleet_does_not_take_its_place(folder: FleetFolder) -> None:
    before = {path: path.read_bytes() for path in folder.path.glob("*.*")}
    with pytest.raises(RefusedError, match="holds a fleet already"):
        FleetFolder.create(
            folder.path, Fleet("other", ("x",)), now=NOW, random=drawn("other")
        )
    assert {path: path.read_bytes() for path in folder.path.glob("*.*")} == before


def test_a_fleet_that_was_founded_by_half_is_founded_again(tmp_path: Path) -> None:
    folder = small_fleet(tmp_path)
    (folder.path / "fleet.json").unlink()  # it is written last
    with pytest.raises(ConfigError, match="no fleet's folder"):
        FleetFolder(folder.path)
    small_fleet(tmp_path)
    check_issued(
        FleetFolder(folder.path).server_certificate(),
        by=FleetFolder(folder.path).authority.certificate,
    )


def test_renewal_brings_new_keys_and_names_by_the_same_authority(
    folder: FleetFolder,
) -> None:
    before = folder.broker_certificate()
    server = folder.server_certificate()
    folder.change(Fleet("test", ("other.local",), 8884))
    folder.renew(now=NOW + 5, random=drawn("again"))
    again = FleetFolder(folder.path)
    assert again.fleet.hosts == ("other.local",)
    assert again.broker_certificate().public != before.public
    # A key that got about opens nothing any more.
    assert listed(folder)[1] == {before.serial, server.serial}
    check_issued(again.broker_certificate(), by=again.authority.certificate)


def test_a_fleet_keeps_its_name(folder: FleetFolder) -> None:
    with pytest.raises(ConfigError, match="keeps its name"):
        folder.change(Fleet("other", ("x",)))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("members/kitchen.json", FleetFolder.members),
        ("claims/claim.0123456789.json", FleetFolder.claims),
        ("server.crt", FleetFolder.server_certificate),
        ("authority.crt", lambda folder: folder.authority),
        ("signing.key", lambda folder: folder.signer),
    ],
)
def test_a_damaged_file_is_named(folder: FleetFolder, name: str, read: object) -> None:
    assert callable(read)
    path = folder.path / name
    path.touch(mode=0o600)
    path.write_bytes(b"{")
    with pytest.raises(ConfigError, match=path.name):
        read(folder)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"fleet": "x"}', '{"fleet": "A B", "hosts": ["x"], "port": 1}']
)
def test_a_damaged_fleet_file_is_named(folder: FleetFolder, text: str) -> None:
    (folder.path / "fleet.json").write_text(text)
    with pytest.raises(ConfigError, match=r"fleet\.json"):
        FleetFolder(folder.path)


@pytest.mark.parametrize(
    "host",
    ["", "a b", "http://x", "x:8883", "-x", "x..y", "*.home", "ä", "fe80::1%eth0"],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="no name of a machine"):
        Fleet("home", (host,))


@pytest.mark.parametrize(
    "host", ["broker", "broker.local", "10.0.0.1", "fd00::2", "x_1"]
)
def test_what_is_a_host_is_taken(host: str) -> None:
    assert Fleet("home", (host,)).hosts == (host,)


def test_the_brokers_list_follows_the_folder(folder: FleetFolder) -> None:
    member(folder, "kitchen")
    serial = folder.known_member("kitchen").serial
    number, serials = listed(folder)
    assert serials == frozenset()
    folder.revoke("kitchen", why="lost", now=NOW)
    assert listed(folder) == (number + 1, frozenset({serial}))
    folder.revoke("kitchen", why="again", now=NOW + 9)
    assert listed(folder) == (number + 1, frozenset({serial}))
    assert folder.known_member("kitchen").why == "lost"
    with folder.locked():
        folder.forget_member(folder.known_member("kitchen"))
        folder.write_revoked()
    assert listed(folder) == (number + 1, frozenset({serial}))
    assert not folder.members()
    assert not list((folder.path / "members").iterdir())


def test_a_damaged_list_is_made_anew(folder: FleetFolder) -> None:
    (folder.path / "revoked.crl").write_bytes(b"nonsense")
    folder.write_revoked()
    assert listed(folder)[1] == frozenset()
    with pytest.raises(DecodeError):
        read_revocation_list(b"nonsense")


def test_claims_are_spent_and_removed_a_while_after_their_end(
    folder: FleetFolder,
) -> None:
    used = member(folder, "kitchen").claim
    unused = applicant(folder, "hall").claim
    folder.spend_claims([used.claim], ended_before=0.0)
    assert listed(folder)[1] == {used.serial}
    folder.spend_claims([], ended_before=unused.until + 1)
    assert not folder.claims()
    assert listed(folder)[1] == frozenset()  # the certificate itself is over


def test_every_change_has_a_stamp_of_its_own(folder: FleetFolder) -> None:
    stamps = [folder.changed]
    for change in (
        lambda: applicant(folder, "kitchen"),
        lambda: member(folder, "hall"),
        lambda: folder.keep_member(replace(folder.known_member("hall"), label="x")),
    ):
        change()
        stamps.append(folder.changed)
    assert len(set(stamps)) == len(stamps)


def test_a_folder_that_is_gone_is_named(folder: FleetFolder) -> None:
    folder.path.rename(folder.path.with_name("elsewhere"))
    for look in (lambda: folder.changed, lambda: folder.revoke("x", why="", now=NOW)):
        with pytest.raises(ConfigError, match="fleet"):
            look()


def test_the_certificate_of_a_member_is_beside_it(folder: FleetFolder) -> None:
    joining = member(folder, "kitchen")
    found = read_certificate((folder.path / "members/kitchen.crt").read_bytes())
    assert found.public == joining.key.public
