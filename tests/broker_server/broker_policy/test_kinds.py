"""``edgefed broker init``: files for each kind of broker, and steps."""

import json
import re
from pathlib import Path

import pytest

from broker_server.broker_policy.kinds import KINDS
from tests.broker.guarded_fleet import CLAIM, GuardedFleet
from tools.cli import main


@pytest.fixture
def fleet(tmp_path: Path) -> GuardedFleet:
    made = GuardedFleet(tmp_path)
    made.join("porch")
    made.join("shed", revoked=True)
    made.open_claim(CLAIM)
    return made


def init(fleet: GuardedFleet, kind: str, *more: str) -> Path:
    out = fleet.path / kind
    words = ["broker", "init", "--fleet-dir", str(fleet.folder.path), "--out", str(out)]
    assert main([*words, "--kind", kind, *more]) == 0
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_private_whole_and_named(
    fleet: GuardedFleet, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = init(fleet, kind, "--json")
    said = json.loads(capsys.readouterr().out)
    files = {path for path in out.rglob("*") if path.is_file()}
    assert {str(path.relative_to(out)) for path in files} == set(said["files"])
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert said["steps"]
    for path in files - set(out.glob("*.key")):
        assert not re.search(r"@\w+@", path.read_text()), path
    assert not list(out.rglob("authority.key"))


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_is_printed(
    fleet: GuardedFleet, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = init(fleet, kind)
    said = capsys.readouterr().out
    for path in (*out.rglob("*.key"), *out.glob("passwords/*")):
        assert path.read_text().strip().splitlines()[-1] not in said


def test_mosquitto_gets_its_own_paths_address_and_port(fleet: GuardedFleet) -> None:
    out = init(fleet, "mosquitto-2.1", "--listen", "*", "--port", "9883")
    lines = (out / "mosquitto.conf").read_text().splitlines()
    assert "listener 9883" in lines
    assert f"plugin_opt_acl_file {out}/mosquitto.acl" in lines
    assert f"keyfile {out}/broker.key" in lines


def test_emqx_shuts_out_who_was_revoked_before_it_lets_in(fleet: GuardedFleet) -> None:
    out = init(fleet, "emqx")
    rules = re.findall(r"^\{.*", (out / "acl.conf").read_text(), re.MULTILINE)
    assert rules[0] == '{deny, {username, "shed"}, all, ["#"]}.'
    assert rules[-1] == "{deny, all}."
    allowed = [number for number, rule in enumerate(rules) if "{allow" in rule]
    denied = [number for number, rule in enumerate(rules[:-1]) if "{deny" in rule]
    assert max(denied) < min(allowed)
    assert "verify = verify_peer" in (out / "emqx.conf").read_text()


def test_home_assistant_gets_a_login_for_each_member_and_keeps_it(
    fleet: GuardedFleet,
) -> None:
    out = init(fleet, "home-assistant")
    logins = re.findall(
        r'username: "(.*)"\n    password: "(.*)"', (out / "options.yaml").read_text()
    )
    assert [name for name, _ in logins] == ["server.edgefed", "porch"]
    for name, password in logins:
        assert (out / "passwords" / name).read_text().strip() == password
        assert len(password) == 32
    users = re.findall(r"^user (\S+)", (out / "edgefed.acl").read_text(), re.MULTILINE)
    assert users == ["homeassistant", "addons", "server.edgefed", "porch"]
    assert "pattern" not in (out / "edgefed.acl").read_text()
    fleet.folder.revoke("porch", why="lost", now=1.0)
    init(fleet, "home-assistant")
    assert re.findall(r'username: "(.*)"', (out / "options.yaml").read_text()) == [
        "server.edgefed"
    ]
    assert not (out / "passwords" / "porch").exists()
    kept = dict(logins)["server.edgefed"]
    assert kept in (out / "options.yaml").read_text()


def test_a_device_that_is_yet_to_join_has_the_topics_of_joining_until_it_has(
    fleet: GuardedFleet,
) -> None:
    out = init(fleet, "home-assistant", "--login", "attic", "--login", "porch")
    acl, joining = out / "edgefed.acl", "topic readwrite edgefed/1/home/enroll/#"
    assert acl.read_text().count(joining) == 1
    assert acl.read_text().rstrip().endswith(f"user attic\n{joining}")
    password = (out / "passwords" / "attic").read_text()
    fleet.join("attic")
    init(fleet, "home-assistant", "--login", "attic")
    assert joining not in acl.read_text()
    assert (out / "passwords" / "attic").read_text() == password


def test_a_folder_that_is_no_fleets_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["broker", "init", "--fleet-dir", str(tmp_path), "--out", str(tmp_path)]
    assert main(words) == 2
    assert "edgefed fleet init" in capsys.readouterr().err
