"""Vouching: requests to join or to be renewed, judged, written down and answered.

First the claim is written down as used, by which key, then the certificate, then the
member. A kill in between leaves nothing, or a claim that the same key uses again: an
answer goes out only when all of it is on the disk, and the same request gets the same
answer for ever. Blocking; the desk runs it in a thread.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from broker_server.enrolment_rules import (
    Applicant,
    check_request,
    end_of,
    is_due,
    judge,
    printable,
)
from broker_server.fleet_folder import FleetFolder, RandomBytes
from broker_server.members import Member
from wire_protocol.certificates import Certificate, requested_key, serial_from
from wire_protocol.enrolment import (
    MAX_REQUEST_BYTES,
    EnrolGrant,
    EnrolRefusal,
    EnrolRequest,
)
from wire_protocol.envelope import ENVELOPE_BYTES
from wire_protocol.errors import ConfigError, DecodeError, Reason, TrustError
from wire_protocol.framing import expect, frame
from wire_protocol.signing import Verifier
from wire_protocol.topics import Topics

MAX_LETTER_BYTES: Final = ENVELOPE_BYTES + 1024 + MAX_REQUEST_BYTES
"""A letter of ours has about 400 bytes."""
From: TypeAlias = Literal["claim", "member"]


@dataclass(frozen=True, slots=True)
class Letter:
    """A sealed request, as it came on the topic of ``name``, a claim or a member."""

    sender: From
    name: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a letter.

    Attributes:
        name: Who sent it.
        topic: Where the answer goes.
        frame: The answer; None: nobody of ours asked, or nothing could be stored.
        reason: ``accepted``, or why not.
        told: For people; empty where it was answered before.
        trouble: Whether the fault is ours.
    """

    name: str
    topic: str
    frame: bytes | None
    reason: Reason = Reason.ACCEPTED
    told: str = ""
    trouble: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """What certificates are issued on: for how many days, and when, and by which luck.

    ``now`` is in seconds since 1970.
    """

    days: float
    now: float
    random: RandomBytes


def answer_all(
    folder: FleetFolder, letters: Iterable[Letter], *, terms: Terms
) -> list[Answer]:
    """Judge letters in their order, and write down what follows; return the answers.

    Raises:
        ConfigError: The fleet's folder cannot be read.
    """
    with folder.locked():
        desk = _Desk(folder, terms)
        answers = [desk.answer(letter) for letter in letters]
        folder.write_revoked()
    return answers


class _Desk:
    """The fleet's folder while it is ours."""

    def __init__(self, folder: FleetFolder, terms: Terms) -> None:
        self._folder = folder
        self._terms = terms
        self._topics = Topics(folder.fleet.fleet)
        self._members = folder.members()
        self._authority = folder.authority

    def answer(self, letter: Letter) -> Answer:
        of_claim = letter.sender == "claim"
        if of_claim:
            asked = self._topics.enrolment(letter.name, "req")
            topic = self._topics.enrolment(letter.name, "res")
        else:
            asked = self._topics.device(letter.name, "renewal")
            topic = self._topics.device(letter.name, "cmd", "certificate")
        request = EnrolRequest("", "")
        try:
            raw = self._sender(letter).unseal(asked, letter.payload)
        except DecodeError as error:
            # Whoever has no right key is told nothing but that a claim is over.
            over = error.reason is Reason.CLAIM_OVER
            refusal = frame(EnrolRefusal("", error.reason)) if over else None
            told = f"{letter.name}: {error}"
            return Answer(letter.name, topic, refusal, error.reason, told)
        try:
            request, body = expect(EnrolRequest, raw)
            key = requested_key(body, device=request.device)
            enrol = self._enrolled if of_claim else self._renewed
            certificate, told = enrol(letter.name, request, key)
        except DecodeError as error:
            told = f"{letter.name}: {error}"
            refusal = frame(EnrolRefusal(request.device, error.reason))
            return Answer(letter.name, topic, refusal, error.reason, told)
        except ConfigError as error:
            told = str(error)
            return Answer(letter.name, topic, None, Reason.LOW_DISK, told, trouble=True)
        grant = frame(EnrolGrant(request.device), certificate.der)
        return Answer(letter.name, topic, grant, told=told)

    def _sender(self, letter: Letter) -> Verifier:
        """Return the key that must have sealed a letter."""
        if letter.sender == "claim":
            claim = self._folder.claim(letter.name)
            if claim is None:
                raise TrustError(
                    "the claim is unknown, or was withdrawn", reason=Reason.CLAIM_OVER
                )
            return Verifier(bytes.fromhex(claim.public))
        member = self._members.get(letter.name)
        if member is None or member.revoked:
            reason = Reason.REVOKED if member else Reason.UNKNOWN_DEVICE
            raise TrustError(f"{letter.name} may not ask", reason=reason)
        return Verifier(bytes.fromhex(member.public))

    def _enrolled(
        self, name: str, request: EnrolRequest, key: bytes
    ) -> tuple[Certificate, str]:
        now = self._terms.now
        claim = self._folder.claim(name)
        applicant = Applicant(name, key.hex(), request.device)
        verdict = judge(applicant, claim=claim, members=self._members, now=now)
        if verdict == "repeat" or claim is None:
            return self._current(self._members[request.device])
        if not claim.taken_by:
            self._folder.keep_claim(replace(claim, taken_by=applicant.public))
        certificate = self._issue(request.device, key)
        member = Member(
            device=request.device,
            label=request.device,
            public=applicant.public,
            serial=certificate.serial,
            not_after=certificate.not_after,
            joined=now,
            claim=name,
            hardware=printable(request.hardware),
        )
        self._keep(member, certificate)
        return certificate, f"{member.device} has joined, by {name}"

    def _renewed(
        self, name: str, request: EnrolRequest, key: bytes
    ) -> tuple[Certificate, str]:
        check_request(request, device=name)
        member = self._members[name]
        if key.hex() != member.public:
            raise TrustError(f"{name} asks for another key; it must join anew for that")
        if is_due(member.not_after, days=self._terms.days, now=self._terms.now):
            return self._anew(member)
        return self._current(member)

    def _current(self, member: Member) -> tuple[Certificate, str]:
        """Return a member's certificate, as it was answered before."""
        certificate = self._folder.member_certificate(member.device)
        if certificate.serial == member.serial:
            return certificate, ""
        return self._anew(member)  # a renewal was cut short: nobody has that one

    def _anew(self, member: Member) -> tuple[Certificate, str]:
        certificate = self._issue(member.device, bytes.fromhex(member.public))
        renewed = member.renewed(certificate.serial, not_after=certificate.not_after)
        self._keep(renewed, certificate)
        return certificate, f"{member.device} has a new certificate"

    def _issue(self, device: str, key: bytes) -> Certificate:
        return self._authority.issue(
            device,
            key,
            serial=serial_from(self._terms.random(15)),
            not_after=end_of(days=self._terms.days, now=self._terms.now),
        )

    def _keep(self, member: Member, certificate: Certificate) -> None:
        self._folder.keep_member(member, certificate)
        self._members[member.device] = member
