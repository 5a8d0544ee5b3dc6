"""What people and scripts are shown of devices and claims; no secret is part of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from broker_server.members import Claim, Member
from broker_server.records import DeviceRecord
from broker_server.reputation import Reputation, Standing
from tools.fleet.summary import ClaimState, claim_state, when


@dataclass(frozen=True, slots=True)
class Known:
    """What a server's store knows of devices, by id, and its newest round."""

    records: Mapping[str, DeviceRecord]
    reputations: Mapping[str, Reputation]
    round: int


NOTHING: Final = Known({}, {}, 0)


@dataclass(frozen=True, slots=True)
class Conduct:
    """What a device's updates were like.

    Attributes:
        judged: Updates that a merge took and compared with others.
        faults: Those with a fault.
        offences: What it sent that could not be an update.
        strikes: What stands against it now.
        quarantines: How often it was in quarantine.
        until_round: The last round that it is not invited to; 0: never was.
        sentence: Why it was last put there.
        length: Of its last update, in units of the running median norm.
        agreement: Of its last update, the cosine with what was merged.
    """

    judged: int
    faults: int
    offences: int
    strikes: float
    quarantines: int
    until_round: int
    sentence: str
    length: float
    agreement: float


@dataclass(frozen=True, slots=True)
class Device:
    """A member, and what the server knows of it.

    Times are ISO 8601, UTC. What is None or empty never was, or is not known here.

    Attributes:
        device: Its id.
        label: What people call it.
        state: Whether it may take part.
        joined: When.
        claim: By which claim.
        certificate_ends: When; it is renewed before.
        serial: Of its newest certificate, in hex.
        public: Its key, 64 hex digits.
        hardware: What it said it is.
        revoked: When it was locked out.
        why: Said by who locked it out.
        last_seen: When it last said something new of itself.
        runtime: What it computes with.
        num_examples: How many it learns from.
        standing: Whether it is in quarantine.
        reputation: What its updates were like.
    """

    device: str
    label: str
    state: Literal["member", "revoked"]
    joined: str
    claim: str
    certificate_ends: str
    serial: str
    public: str
    hardware: str
    revoked: str | None
    why: str
    last_seen: str | None
    runtime: str | None
    num_examples: int | None
    standing: Standing | None
    reputation: Conduct | None


@dataclass(frozen=True, slots=True)
class Token:
    """A claim, without what makes it one."""

    claim: str
    state: ClaimState
    until: str
    device: str
    """The id it is for, or that it was used for; empty: of whoever uses it."""


def device_of(member: Member, known: Known) -> Device:
    """Return what there is to see of a member."""
    record = known.records.get(member.device)
    reputation = known.reputations.get(member.device)
    return Device(
        device=member.device,
        label=member.label,
        state="revoked" if member.revoked else "member",
        joined=when(member.joined),
        claim=member.claim,
        certificate_ends=when(member.not_after),
        serial=member.serial,
        public=member.public,
        hardware=member.hardware,
        revoked=when(member.revoked) if member.revoked else None,
        why=member.why,
        last_seen=when(record.last_seen) if record else None,
        runtime=record.runtime if record else None,
        num_examples=record.num_examples if record else None,
        standing=reputation.standing(known.round) if reputation else None,
        reputation=_conduct(reputation) if reputation else None,
    )


def _conduct(reputation: Reputation) -> Conduct:
    return Conduct(
        judged=reputation.judged,
        faults=reputation.faults,
        offences=reputation.offences,
        strikes=reputation.strikes,
        quarantines=reputation.quarantines,
        until_round=reputation.until,
        sentence=reputation.sentence,
        length=reputation.length,
        agreement=reputation.agreement,
    )


def tokens_of(
    claims: Iterable[Claim], members: Mapping[str, Member], *, now: float
) -> list[Token]:
    """Return what there is to see of claims, those that end first first."""
    users = {one.claim: one.device for one in members.values()}
    return [
        Token(
            claim=one.claim,
            state=claim_state(one, now=now),
            until=when(one.until),
            device=users.get(one.claim, one.device),
        )
        for one in sorted(claims, key=lambda one: (one.until, one.claim))
    ]


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under titles, each column as wide as it must be."""
    cells = [
        [*titles],
        *(["-" if cell in (None, "") else str(cell) for cell in row] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    )
