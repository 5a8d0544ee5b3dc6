"""Kills at every change of a file in a fleet's folder: real processes, SIGKILL."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from broker_server.enrolment_rules import DAY_S
from broker_server.fleet_folder import FleetFolder
from broker_server.vouching import Letter
from tests.broker_server.small_fleet import (
    NOW,
    applicant,
    ask,
    key_of,
    member,
    small_fleet,
)
from wire_protocol.certificates import read_certificate, read_revocation_list
from wire_protocol.enrolment import EnrolGrant
from wire_protocol.errors import Reason
from wire_protocol.framing import expect

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def run_mortal(step: int, folder: FleetFolder, *words: str) -> bool:
    """Run a process that dies at ``step``; tell whether it did."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.broker_server.mortal_process"),
            *(str(step), str(folder.path), *words),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def killed_with(step: int, folder: FleetFolder, letter: Letter, *, now: float) -> bool:
    path = folder.path.parent / "letter.json"
    plain = {"sender": letter.sender, "name": letter.name}
    path.write_text(json.dumps({**plain, "payload": letter.payload.hex()}))
    return run_mortal(step, folder, "letter", str(path), str(now))


def listed(folder: FleetFolder) -> frozenset[str]:
    return read_revocation_list((folder.path / "revoked.crl").read_bytes())[1]


def serial_of(folder: FleetFolder, letter: Letter, *, now: float) -> str:
    (answer,) = ask(folder, letter, now=now)
    assert answer.frame is not None
    _, body = expect(EnrolGrant, answer.frame)
    return read_certificate(body).serial


def test_enrolment_goes_on_after_a_kill_anywhere(tmp_path: Path) -> None:
    killed = 0
    for step in range(9):
        folder = small_fleet(tmp_path / str(step))
        joining = applicant(folder, "kitchen")
        if not killed_with(step, folder, joining.letter(), now=NOW):
            break
        killed += 1
        (thief,) = ask(folder, joining.letter(key=key_of("thief")), now=NOW + 9000)
        assert thief.reason is Reason.CLAIM_OVER
        # Where nothing was written yet, the end of the claim still counts.
        now = NOW if step == 0 else NOW + 9000
        serial = serial_of(folder, joining.letter(), now=now)
        assert serial_of(folder, joining.letter(), now=now + 9) == serial
        assert folder.known_member("kitchen").serial == serial
        assert list(folder.members()) == ["kitchen"]
    assert killed == 3  # claim, certificate, member


def test_renewal_goes_on_after_a_kill_anywhere(tmp_path: Path) -> None:
    killed = 0
    late = NOW + 300 * DAY_S
    for step in range(9):
        folder = small_fleet(tmp_path / str(step))
        joining = member(folder, "kitchen")
        before = folder.known_member("kitchen")
        if not killed_with(step, folder, joining.renewal(), now=late):
            break
        killed += 1
        assert folder.known_member("kitchen") == before
        serial = serial_of(folder, joining.renewal(), now=late + 5)
        folder.revoke("kitchen", why="", now=late)
        assert listed(folder) == {before.serial, serial}
    assert killed == 2  # certificate, member


@pytest.mark.parametrize(
    ("command", "files"),
    [("revoke", 2), ("forget", 4)],
)
def test_who_is_to_be_locked_out_is_in_the_end(
    tmp_path: Path, command: str, files: int
) -> None:
    killed = 0
    for step in range(9):
        folder = small_fleet(tmp_path / str(step))
        member(folder, "kitchen")
        serial = folder.known_member("kitchen").serial
        if not run_mortal(step, folder, "devices", command, "kitchen"):
            break
        killed += 1
        # What the server does within a second, as soon as it sees it.
        folder.write_revoked()
        found = folder.members().get("kitchen")
        assert found is not None or serial in listed(folder)
        if found is not None:
            assert not run_mortal(99, folder, "devices", command, "kitchen")
            assert serial in listed(folder)
        else:  # and its id is free
            member(folder, "kitchen")
    assert killed == files
