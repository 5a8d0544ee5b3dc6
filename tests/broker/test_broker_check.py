"""``edgefed broker check``: a new fleet is well; what is wrong is found and named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.broker.guarded_fleet import GuardedFleet
from tools.cli import main
from wire_protocol.signing import Signer, key_to_pem

pytestmark = pytest.mark.broker


@pytest.fixture
def fleet(tmp_path: Path) -> GuardedFleet:
    return GuardedFleet(tmp_path)


def check(
    fleet: GuardedFleet, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, str]]:
    """Return the exit code, and what is wrong: name and remedy."""
    folder = str(fleet.folder.path)
    code = main(["broker", "check", "--fleet-dir", folder, "--json"])
    said = json.loads(capsys.readouterr().out)
    bad = {one["name"]: one["remedy"] for one in said["findings"] if not one["well"]}
    assert said["well"] is not bool(bad)
    return code, bad


def test_a_new_fleet_is_well_and_every_act_was_tried(
    fleet: GuardedFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["broker", "check", "--fleet-dir", str(fleet.folder.path)]) == 0
    said = capsys.readouterr().out
    assert "BAD" not in said
    assert said.count(": refused") == 8
    assert said.count(": allowed") == 3
    assert "mosquitto: mosquitto 2." in said
    assert not list(fleet.path.glob("**/edgefed-check-*"))


def open_key(fleet: GuardedFleet) -> None:
    (fleet.folder.path / "authority.key").chmod(0o644)


def wrong_key(fleet: GuardedFleet) -> None:
    path = fleet.folder.path / "broker.key"
    path.write_bytes(key_to_pem(Signer(bytes(32))))


def no_key(fleet: GuardedFleet) -> None:
    (fleet.folder.path / "signing.key").unlink()


def ends_soon(fleet: GuardedFleet) -> None:
    past = fleet.now - 10 * 365.25 * 24 * 3600 + 24 * 3600
    fleet.folder.renew(now=past, random=fleet.random)


@pytest.mark.parametrize(
    ("harm", "name", "remedy"),
    [
        (open_key, "authority.key", "chmod 600"),
        (wrong_key, "the broker's certificate", "edgefed fleet renew"),
        (no_key, "signing.key", "restore a copy"),
        (ends_soon, "the server's certificate", "edgefed fleet renew"),
    ],
)
def test_what_is_wrong_is_found(
    fleet: GuardedFleet,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[GuardedFleet], None],
    name: str,
    remedy: str,
) -> None:
    harm(fleet)
    code, bad = check(fleet, capsys)
    assert code == 3
    assert any(found.endswith(name) and remedy in bad[found] for found in bad)
