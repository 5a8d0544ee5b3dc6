"""Letters answered: what goes out, what is on the disk, and what a kill leaves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker_server.enrolment_rules import DAY_S
from broker_server.fleet_folder import FleetFolder
from broker_server.vouching import Answer, Letter
from tests.broker_server.small_fleet import (
    DAYS,
    NOW,
    Applicant,
    applicant,
    ask,
    key_of,
    member,
    small_fleet,
)
from wire_protocol.certificates import Certificate, check_issued, read_certificate
from wire_protocol.enrolment import EnrolGrant, EnrolRefusal
from wire_protocol.errors import Reason
from wire_protocol.framing import expect


@pytest.fixture
def folder(tmp_path: Path) -> FleetFolder:
    return small_fleet(tmp_path)


def certificate_in(answer: Answer) -> Certificate:
    assert answer.frame is not None
    _, body = expect(EnrolGrant, answer.frame)
    return read_certificate(body)


def test_a_device_with_a_token_becomes_a_member(folder: FleetFolder) -> None:
    joining = applicant(folder, "kitchen")
    (answer,) = ask(folder, joining.letter())
    issued = certificate_in(answer)
    assert answer.topic == f"edgefed/1/test/enroll/{joining.claim.claim}/res"
    assert issued.name == "kitchen"
    assert issued.public == joining.key.public
    assert issued.not_after == pytest.approx(NOW + DAYS * DAY_S, abs=1)
    check_issued(issued, by=folder.authority.certificate)
    known = folder.known_member("kitchen")
    assert (known.public, known.serial) == (issued.public.hex(), issued.serial)
    assert known.hardware == "a [31mboard"
    used = folder.claim(joining.claim.claim)
    assert used is not None
    assert used.taken_by == known.public


def test_the_same_request_gets_the_same_certificate(folder: FleetFolder) -> None:
    joining = applicant(folder, "kitchen")
    first, second = ask(folder, joining.letter(), joining.letter())
    (third,) = ask(folder, joining.letter(), now=NOW + 5000)
    assert first.frame == second.frame == third.frame
    assert first.told
    assert not second.told


REFUSED: dict[str, tuple[Callable[[Applicant], Letter], Reason]] = {
    "another key": (lambda one: one.letter(key=key_of("thief")), Reason.CLAIM_OVER),
    "another id": (lambda one: one.letter(device="hall"), Reason.CLAIM_OVER),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_used_claim_is_used_once(folder: FleetFolder, case: str) -> None:
    make, reason = REFUSED[case]
    joining = member(folder, "kitchen")
    (answer,) = ask(folder, make(joining))
    assert answer.frame is not None
    refusal, _ = expect(EnrolRefusal, answer.frame)
    assert refusal.reason is reason is answer.reason
    assert list(folder.members()) == ["kitchen"]


def test_who_does_not_hold_the_claims_key_is_told_nothing(folder: FleetFolder) -> None:
    joining = replace(applicant(folder, "kitchen"), claim_key=key_of("thief"))
    (answer,) = ask(folder, joining.letter())
    assert (answer.frame, answer.reason) == (None, Reason.UNTRUSTED)
    assert not folder.members()


def test_a_letter_holds_on_its_own_topic_only(folder: FleetFolder) -> None:
    one, two = applicant(folder, "kitchen"), applicant(folder, "hall")
    (answer,) = ask(folder, replace(one.letter(), name=two.claim.claim))
    assert (answer.frame, answer.reason) == (None, Reason.UNTRUSTED)


def test_a_withdrawn_claim_is_over(folder: FleetFolder) -> None:
    joining = applicant(folder, "kitchen")
    folder.withdraw_claim(joining.claim)
    (answer,) = ask(folder, joining.letter())
    assert answer.reason is Reason.CLAIM_OVER
    assert answer.frame is not None
    assert joining.claim.serial in folder.revoked_serials()


def test_renewal_keeps_the_key_and_locks_out_the_old_one_too(
    folder: FleetFolder,
) -> None:
    joining = member(folder, "kitchen")
    before = folder.known_member("kitchen")
    (early,) = ask(folder, joining.renewal(), now=NOW + DAY_S)
    assert certificate_in(early).serial == before.serial
    late_s = NOW + 300 * DAY_S
    (late,) = ask(folder, joining.renewal(), now=late_s)
    renewed = certificate_in(late)
    assert late.topic == "edgefed/1/test/d/kitchen/cmd/certificate"
    assert renewed.public == joining.key.public
    assert renewed.not_after == pytest.approx(late_s + DAYS * DAY_S, abs=1)
    (again,) = ask(folder, joining.renewal(), now=late_s + 2)
    assert again.frame == late.frame
    assert not folder.revoked_serials()  # the old one holds: the answer may be lost
    folder.revoke("kitchen", why="lost", now=late_s)
    assert folder.revoked_serials() == {before.serial, renewed.serial}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda one: one.renewal(key=key_of("thief")), Reason.UNTRUSTED),
        (lambda one: one.renewal(device="hall"), Reason.UNTRUSTED),
    ],
    ids=["another key", "another id"],
)
def test_a_renewal_is_of_ones_own_key_and_id(
    folder: FleetFolder, spoil: Callable[[Applicant], Letter], reason: Reason
) -> None:
    joining = member(folder, "kitchen")
    (answer,) = ask(folder, spoil(joining), now=NOW + 300 * DAY_S)
    assert answer.reason is reason
    assert not folder.known_member("kitchen").earlier


def test_a_revoked_device_is_not_renewed(folder: FleetFolder) -> None:
    joining = member(folder, "kitchen")
    folder.revoke("kitchen", why="", now=NOW)
    (answer,) = ask(folder, joining.renewal(), now=NOW + 300 * DAY_S)
    assert (answer.frame, answer.reason) == (None, Reason.REVOKED)
    (answer,) = ask(folder, joining.letter())
    assert answer.reason is Reason.REVOKED


def test_a_full_disk_answers_nobody_and_loses_nothing(folder: FleetFolder) -> None:
    joining = applicant(folder, "kitchen")
    with killed_at(0, error=OSError(28, "No space left on device")):
        (answer,) = ask(folder, joining.letter())
    assert (answer.frame, answer.trouble) == (None, True)
    (answer,) = ask(folder, joining.letter())
    assert answer.reason is Reason.ACCEPTED


class KilledError(BaseException):
    """The process ends here."""


@contextmanager
def killed_at(step: int, *, error: BaseException | None = None) -> Iterator[list[int]]:
    """End at the ``step``-th file that is put in its place, before that happens."""
    done: list[int] = []
    real = Path.replace

    def replaced(self: Path, target: Path) -> Path:
        if len(done) == step:
            raise error or KilledError
        done.append(step)
        return real(self, target)

    with mock.patch.object(Path, "replace", replaced):
        yield done


def steps(folder: FleetFolder, letter: Letter, *, now: float) -> int:
    with killed_at(-1) as done:
        ask(folder, letter, now=now)
    return len(done)


@pytest.mark.parametrize("step", range(3))
def test_a_kill_leaves_nothing_or_what_goes_on(tmp_path: Path, step: int) -> None:
    other = applicant(small_fleet(tmp_path / "counted"), "kitchen")
    counted = FleetFolder(tmp_path / "counted" / "fleet")
    assert steps(counted, other.letter(), now=NOW) == 3
    folder = small_fleet(tmp_path)
    joining = applicant(folder, "kitchen")
    with pytest.raises(KilledError), killed_at(step):
        ask(folder, joining.letter())
    assert not folder.members()
    # Meanwhile somebody else tries the same token, and the claim ends.
    (thief,) = ask(folder, joining.letter(key=key_of("thief")), now=NOW + 9000)
    assert thief.reason is Reason.CLAIM_OVER
    if step == 0:  # nothing was written: nothing was begun
        (answer,) = ask(folder, joining.letter())
    else:
        (answer,) = ask(folder, joining.letter(), now=NOW + 9000)
    issued = certificate_in(answer)
    (again,) = ask(folder, joining.letter())
    assert certificate_in(again).serial == issued.serial
    assert folder.known_member("kitchen").serial == issued.serial
    assert folder.member_certificate("kitchen").serial == issued.serial


@pytest.mark.parametrize("step", range(2))
def test_a_kill_within_a_renewal_costs_one_more_request(
    folder: FleetFolder, step: int
) -> None:
    joining = member(folder, "kitchen")
    before = folder.known_member("kitchen")
    late = NOW + 300 * DAY_S
    with pytest.raises(KilledError), killed_at(step):
        ask(folder, joining.renewal(), now=late)
    assert folder.known_member("kitchen") == before
    # The claim's own request must not bring out what nobody has written down.
    for letter in (joining.letter(), joining.renewal()):
        (answer,) = ask(folder, letter, now=late + 1)
        known = folder.known_member("kitchen")
        assert certificate_in(answer).serial == known.serial
        assert before.serial in known.serials


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_comes_there_is_an_answer_or_none(
    folder: FleetFolder, data: st.DataObject
) -> None:
    joining = applicant(folder, "hall")
    good = joining.letter().payload
    kind = data.draw(st.sampled_from(["raw", "cut", "flipped", "sealed"]))
    if kind == "raw":
        payload = data.draw(st.binary(max_size=600))
    elif kind == "cut":
        payload = good[: data.draw(st.integers(0, len(good) - 1))]
    elif kind == "flipped":
        at = data.draw(st.integers(0, len(good) - 1))
        flip = data.draw(st.integers(1, 255))
        payload = good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :]
    else:
        topic = f"edgefed/1/test/enroll/{joining.claim.claim}/req"
        inner = data.draw(st.binary(max_size=300))
        payload = joining.claim_key.seal(topic, inner)
    (answer,) = ask(folder, Letter("claim", joining.claim.claim, payload))
    assert answer.reason is not Reason.ACCEPTED
    assert not folder.members()
