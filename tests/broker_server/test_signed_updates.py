"""In a fleet an update is its device's own, of its round and base, or it is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker_server.roster import Roster
from broker_server.round_events import Declined, Reported
from tests.broker_server.small_fleet import key_of, member, small_fleet
from tests.broker_server.test_acceptance import BODY, GOOD
from tests.broker_server.test_intake import TOPICS, open_intake, send
from wire_protocol.envelope import split
from wire_protocol.errors import Reason
from wire_protocol.framing import frame
from wire_protocol.topics import Topics

UPDATE = frame(GOOD, BODY)


def up(device: str, *, fleet: str = TOPICS.fleet) -> str:
    """Return the context in which a device signs its updates."""
    return Topics(fleet).device(device, "up")


def by(signer: str, *, context: str = "", update: bytes = UPDATE) -> bytes:
    """Return an update that ``signer`` signed, by default as its own."""
    return key_of(signer).seal(context or up(signer), update)


@pytest.fixture
def roster(tmp_path: Path) -> Roster:
    folder = small_fleet(tmp_path)
    member(folder, "a")
    member(folder, "b")
    return Roster(folder)


FORGED: dict[str, tuple[bytes, Reason]] = {
    "not signed": (UPDATE, Reason.UNTRUSTED),
    "signed by another member": (by("b", context=up("a")), Reason.UNTRUSTED),
    "another member's own": (by("b"), Reason.UNTRUSTED),
    "signed by a stranger": (by("x", context=up("a")), Reason.UNTRUSTED),
    "of another fleet": (by("a", context=up("a", fleet="work")), Reason.UNTRUSTED),
    "signed as something else": (
        by("a", context=TOPICS.device("a", "renewal")),
        Reason.UNTRUSTED,
    ),
    "changed on the way": (by("a")[:-1] + b"!", Reason.UNTRUSTED),
    "a signature alone": (by("a")[:68], Reason.UNTRUSTED),
    "its own of an earlier round": (
        by("a", update=frame(replace(GOOD, round=1), BODY)),
        Reason.WRONG_ROUND,
    ),
    "its own of another base": (
        by("a", update=frame(replace(GOOD, base="9" * 16), BODY)),
        Reason.WRONG_BASE,
    ),
}


@pytest.mark.parametrize(("blob", "reason"), FORGED.values(), ids=list(FORGED))
def test_what_is_forged_or_repeated_is_refused(
    roster: Roster, tmp_path: Path, blob: bytes, reason: Reason
) -> None:
    intake, answers = open_intake(tmp_path, roster=roster)
    event = send(intake, "a", blob)
    assert not isinstance(event, Reported)
    assert [receipt.reason for _, receipt in answers] == [reason]
    assert intake.refused[reason] == 1


@pytest.mark.parametrize("device", ["a", "b"])
def test_its_own_counts_and_is_kept_without_the_envelope(
    roster: Roster, tmp_path: Path, device: str
) -> None:
    intake, _ = open_intake(tmp_path, roster=roster)
    event = send(intake, device, by(device))
    assert isinstance(event, Reported)
    assert event.update.blob == UPDATE == split(by(device))[1]
    assert event.update.participant.bytes_up == len(by(device))


def test_a_forged_update_does_not_take_the_place_of_the_right_one(
    roster: Roster, tmp_path: Path
) -> None:
    intake, _ = open_intake(tmp_path, roster=roster)
    assert not isinstance(send(intake, "a", by("b", context=up("a"))), Reported)
    assert isinstance(send(intake, "a", by("a")), Reported)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: folder.revoke("a", why="lost", now=2e9), Reason.REVOKED),
        (
            lambda folder: folder.forget_member(folder.member("a")),
            Reason.UNKNOWN_DEVICE,
        ),
    ],
    ids=["revoked", "forgotten"],
)
def test_whoever_is_locked_out_is_not_heard(
    tmp_path: Path, change: Callable[[Any], object], reason: Reason
) -> None:
    folder = small_fleet(tmp_path)
    member(folder, "a")
    member(folder, "b")
    roster = Roster(folder)
    intake, answers = open_intake(tmp_path, roster=roster)
    change(folder)
    roster.refresh()
    assert not isinstance(send(intake, "a", by("a")), Reported | Declined)
    assert answers == []
    assert intake.refused[reason] == 1
