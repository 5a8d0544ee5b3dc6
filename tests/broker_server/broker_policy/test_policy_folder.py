"""The broker's folder has what a broker needs, for its owner only, and nothing more."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.broker_policy.access import SHARED, Access
from broker_server.broker_policy.policy_folder import Listening, PolicyFolder
from broker_server.broker_policy.program import Program, parsed_version
from tests.broker.guarded_fleet import CLAIM, GuardedFleet

NAMES = st.text("abz09_-", min_size=1, max_size=32).filter(
    lambda name: name[0] not in "_-"
)
BROKERS = Path(__file__).parents[3] / "firmware_configs" / "brokers"


@pytest.fixture
def fleet(tmp_path: Path) -> GuardedFleet:
    return GuardedFleet(tmp_path)


def policy(fleet: GuardedFleet, **options: object) -> PolicyFolder:
    where = Listening("0.0.0.0", 8883)
    return PolicyFolder(fleet.path / "broker", fleet.folder, listening=where, **options)  # type: ignore[arg-type]


def test_files_are_for_their_owner_and_hold_no_key_that_vouches(
    fleet: GuardedFleet,
) -> None:
    folder = policy(fleet)
    folder.write()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    files = {path.name: path for path in folder.path.iterdir()}
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}
    assert {name for name in files if name.endswith(".key")} == {"broker.key"}


def test_nothing_is_written_again_until_the_fleet_changes(fleet: GuardedFleet) -> None:
    folder = policy(fleet)
    assert folder.write().changed
    assert not folder.write().changed
    fleet.open_claim(CLAIM)
    assert folder.write().changed
    assert not folder.write().changed


def test_who_is_shut_out_is_who_was_admitted_with_the_same_key(
    fleet: GuardedFleet,
) -> None:
    folder = policy(fleet)
    fleet.join("porch")
    fleet.join("cellar")
    first = folder.write()
    assert first.shut_since(first) == ()
    fleet.folder.revoke("porch", why="lost", now=1.0)
    second = folder.write()
    assert second.shut_since(first) == ("porch",)
    assert first.shut_since(second) == ()
    member = fleet.folder.member("cellar")
    assert member is not None
    with fleet.folder.locked():
        fleet.folder.forget_member(member)
    fleet.join("cellar")  # with another key
    assert folder.write().shut_since(second) == ("cellar",)


def test_renewal_shuts_nobody_out(fleet: GuardedFleet) -> None:
    fleet.join("porch")
    folder = policy(fleet)
    first = folder.write()
    member = fleet.folder.member("porch")
    assert member is not None
    with fleet.folder.locked():
        fleet.folder.keep_member(member)
    assert folder.write().shut_since(first) == ()


@given(
    revoked=st.lists(NAMES, unique=True, max_size=4),
    claims=st.lists(NAMES, unique=True, max_size=4),
)
def test_every_name_has_a_section_that_only_denies(
    revoked: list[str], claims: list[str]
) -> None:
    claims = [f"claim.{name}" for name in claims]
    text = Access("home", tuple(revoked), tuple(claims)).mosquitto()
    sections = re.findall(r"^user (\S+)\n((?:topic .*\n?)+)", text, re.MULTILINE)
    assert [name for name, _ in sections] == revoked + claims
    for name, lines in sections:
        rules = lines.split("\n")
        assert all(line.startswith("topic deny ") for line in rules if line)
        denied = {line.removeprefix("topic deny ") for line in rules if line}
        shared = {f"edgefed/1/home/{level}/#" for level in ("d", *SHARED)}
        assert denied == (shared if name in claims else {"#"})


def test_what_everybody_may_read_is_what_claims_may_not() -> None:
    text = (BROKERS / "mosquitto.acl").read_text(encoding="utf-8")
    allowed = re.findall(r"^pattern read @root@/(\w+)/#", text, re.MULTILINE)
    assert tuple(allowed) == SHARED


def test_both_dialects_set_the_same_limits() -> None:
    old, new = (
        {
            line
            for line in (BROKERS / f"mosquitto-{dialect}.conf").read_text().splitlines()
            if line and not line.startswith("#")
        }
        for dialect in ("2.0", "2.1")
    )
    assert {line.split()[0] for line in old - new} == {
        "per_listener_settings",
        "allow_anonymous",
        "acl_file",
    }
    assert {line.split()[0] for line in new - old} == {
        "listener_allow_anonymous",
        "plugin",
        "plugin_opt_acl_file",
    }


@pytest.mark.parametrize(
    ("address", "option", "reached_at"),
    [
        ("*", "", "127.0.0.1"),
        ("0.0.0.0", " 0.0.0.0", "127.0.0.1"),
        ("::", " ::", "127.0.0.1"),
        ("192.168.1.5", " 192.168.1.5", "192.168.1.5"),
        ("127.0.0.1", " 127.0.0.1", "127.0.0.1"),
    ],
)
def test_an_address_to_listen_on(address: str, option: str, reached_at: str) -> None:
    where = Listening(address, 8883)
    assert (where.option, where.reached_at) == (option, reached_at)


@pytest.mark.parametrize(
    ("version", "plugin", "dialect"),
    [
        ((2, 0, 11), None, "2.0"),
        ((2, 0, 22), Path("/x.so"), "2.0"),
        ((2, 1, 2), Path("/x.so"), "2.1"),
        ((2, 1, 2), None, "2.0"),
        ((3, 0, 0), Path("/x.so"), "2.1"),
    ],
)
def test_the_dialect_goes_by_version_and_plugin(
    version: tuple[int, int, int], plugin: Path | None, dialect: str
) -> None:
    assert Program("/mosquitto", version, plugin).dialect == dialect


def test_a_version_is_read_or_not_there() -> None:
    assert parsed_version("mosquitto version 2.1.2\n\nmosquitto is") == (2, 1, 2)
    assert parsed_version("usage: something else") is None
