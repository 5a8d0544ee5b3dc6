"""The rules of joining: who gets a certificate, and when it is time for another.

They are decided from what the fleet has written down, so that a server that was killed
at any point decides the same again. This module is pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from broker_server.members import Claim, Member
from wire_protocol.enrolment import EnrolRequest
from wire_protocol.errors import (
    ConfigError,
    DecodeError,
    Reason,
    RefusedError,
    TrustError,
)
from wire_protocol.topics import check_name

DAY_S: Final = 24 * 3600.0
MAX_CLAIM_S: Final = DAY_S
"""How long a token may hold."""
CLAIM_MEMORY_S: Final = DAY_S
"""How long a claim is remembered after its end, for people who look why."""
EARLIEST_S: Final = 1_767_225_600.0
"""2026-01-01: a clock before it is one that was never set."""
_CLAIM: Final = re.compile(r"claim\.[0-9a-f]{10,32}")

Verdict: TypeAlias = Literal["issue", "repeat"]
"""Issue a certificate, or answer with the one the device has already."""


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who asks: with which claim, by which key (64 hex digits), for which id."""

    claim: str
    public: str
    device: str


def is_claim(name: str) -> bool:
    """Tell whether ``name`` can be a claim's; it becomes the name of a file."""
    return _CLAIM.fullmatch(name) is not None


def judge(
    applicant: Applicant,
    *,
    claim: Claim | None,
    members: Mapping[str, Member],
    now: float,
) -> Verdict:
    """Decide what an applicant gets who holds the key of ``claim``.

    A claim is for one key. Whose claim was written down as used, but not its member,
    was cut short in between, and is served even if the claim has ended meanwhile.

    Raises:
        DecodeError: It gets nothing; ``reason`` says why.
    """
    if claim is None:
        raise _over(applicant, "unknown, or was withdrawn")
    if claim.taken_by not in ("", applicant.public):
        raise _over(applicant, "used")
    known = members.get(applicant.device)
    if known is not None and _is_same(known, applicant):
        if known.revoked:
            raise DecodeError(f"{applicant.device} was revoked", reason=Reason.REVOKED)
        return "repeat"
    if any(one.claim == claim.claim for one in members.values()):
        raise _over(applicant, "used")
    if not claim.taken_by and now >= claim.until:
        raise _over(applicant, "over")
    _check_id(applicant, claim=claim)
    if known is not None:
        raise DecodeError(
            f"{applicant.device} is the id of another member", reason=Reason.NAME_TAKEN
        )
    return "issue"


def check_request(request: EnrolRequest, *, device: str) -> None:
    """Raise ``TrustError`` unless a member asks for itself."""
    if request.device != device:
        raise TrustError(f"{device} asks to be {request.device!r:.40}")


def is_due(not_after: float, *, days: float, now: float) -> bool:
    """Tell whether a certificate is in the last third of its ``days``."""
    return not_after - now < days * DAY_S / 3


def end_of(*, days: float, now: float) -> float:
    """Return when a certificate issued now ends; no clock that was never set counts."""
    return max(now, EARLIEST_S) + days * DAY_S


def check_clock(now: float) -> None:
    """Raise ``RefusedError`` on a machine whose clock was never set.

    What it vouched for would have ended before it began.
    """
    if now < EARLIEST_S:
        raise RefusedError(
            "the clock of this machine is before 2026, so nothing may end by it",
            remedy="set the clock, for example with 'timedatectl set-ntp true'",
        )


def printable(text: str) -> str:
    """Return ``text`` without what moves a terminal's cursor, or worse."""
    return "".join(letter for letter in text if letter.isprintable())


def _check_id(applicant: Applicant, *, claim: Claim) -> None:
    try:
        check_name(applicant.device, what="device")
    except ConfigError as error:
        raise DecodeError(error.problem) from error
    if claim.device not in ("", applicant.device):
        raise TrustError(f"{claim.claim} is for {claim.device}, not {applicant.device}")


def _is_same(member: Member, applicant: Applicant) -> bool:
    return (member.public, member.claim) == (applicant.public, applicant.claim)


def _over(applicant: Applicant, how: str) -> DecodeError:
    return DecodeError(f"{applicant.claim} is {how}", reason=Reason.CLAIM_OVER)
