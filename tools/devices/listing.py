"""What people and scripts are shown of devices and claims; no secret is part of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from broker_server.members import Claim, Member
from broker_server.records import DeviceRecord
from tools.fleet.summary import ClaimState, claim_state, when


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


@dataclass(frozen=True, slots=True)
class Token:
    """A claim, without what makes it one."""

    claim: str
    state: ClaimState
    until: str
    device: str
    """The id it is for, or that it was used for; empty: of whoever uses it."""


def device_of(member: Member, record: DeviceRecord | None) -> Device:
    """Return what there is to see of a member."""
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
