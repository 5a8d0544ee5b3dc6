"""What people and scripts are shown of a fleet; no secret is part of it."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from broker_server.fleet_folder import FleetFolder
from broker_server.members import Claim

ClaimState: TypeAlias = Literal["open", "used", "over"]


@dataclass(frozen=True, slots=True)
class Summary:
    """A fleet at one time.

    Attributes:
        fleet: Its name.
        folder: Where it is.
        hosts: Of its broker; devices use the first.
        port: Of its broker.
        authority_sha256: Of the authority's certificate, as OpenSSL shows it.
        fleet_key: The public key it signs with, 64 hex digits.
        server_ends: When the server's certificate ends, ISO 8601.
        broker_ends: When the broker's does.
        members: How many devices may take part.
        revoked: How many may no more.
        claims: How many tokens are open, used, over.
    """

    fleet: str
    folder: str
    hosts: tuple[str, ...]
    port: int
    authority_sha256: str
    fleet_key: str
    server_ends: str
    broker_ends: str
    members: int
    revoked: int
    claims: dict[ClaimState, int]


def summary_of(folder: FleetFolder, *, now: float) -> Summary:
    """Return what there is to see of a fleet."""
    members = folder.members().values()
    states = Counter(claim_state(one, now=now) for one in folder.claims().values())
    certificate = folder.authority.certificate
    digest = hashlib.sha256(certificate.der).hexdigest().upper()
    return Summary(
        fleet=folder.fleet.fleet,
        folder=str(folder.path),
        hosts=folder.fleet.hosts,
        port=folder.fleet.port,
        authority_sha256=":".join(digest[at : at + 2] for at in range(0, 64, 2)),
        fleet_key=folder.signer.public.hex(),
        server_ends=when(folder.server_certificate().not_after),
        broker_ends=when(folder.broker_certificate().not_after),
        members=sum(not one.revoked for one in members),
        revoked=sum(bool(one.revoked) for one in members),
        claims={state: states[state] for state in ("open", "used", "over")},
    )


def claim_state(claim: Claim, *, now: float) -> ClaimState:
    """Return what has become of a claim."""
    if claim.taken_by:
        return "used"
    return "open" if now < claim.until else "over"


def when(seconds: float) -> str:
    """Return a time in ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
