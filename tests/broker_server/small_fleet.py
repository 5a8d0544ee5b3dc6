"""A small fleet's folder, and applicants who hold its tokens."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from broker_server.enrolment_rules import EARLIEST_S
from broker_server.fleet import Fleet
from broker_server.fleet_folder import FleetFolder
from broker_server.join_tokens import open_claims
from broker_server.members import Claim
from broker_server.vouching import Answer, Letter, Terms, answer_all
from tests.broker_server.small_server import FLEET, TOPICS
from wire_protocol.certificates import certificate_request
from wire_protocol.enrolment import EnrolRequest, JoinToken, TokenParts, token_frame
from wire_protocol.errors import Reason
from wire_protocol.framing import expect, frame
from wire_protocol.signing import Signer

NOW = EARLIEST_S + 1000.0
DAYS = 365.0


def drawn(seed: str) -> Callable[[int], bytes]:
    """Return random bytes that are the same in every run, and never the same twice."""
    count = 0

    def draw(length: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.sha512(f"{seed} {count}".encode()).digest()[:length]

    return draw


def key_of(name: str) -> Signer:
    """Return the key of a device."""
    return Signer(hashlib.sha256(name.encode()).digest())


def small_fleet(folder: Path) -> FleetFolder:
    """Found a fleet."""
    fleet = Fleet(FLEET, ("broker.local", "127.0.0.1"))
    return FleetFolder.create(folder / "fleet", fleet, now=NOW, random=drawn("fleet"))


@dataclass(frozen=True)
class Applicant:
    """A device with a token."""

    device: str
    claim: Claim
    claim_key: Signer
    key: Signer

    def letter(self, *, device: str = "", key: Signer | None = None) -> Letter:
        """Return the request it makes."""
        name, signer = device or self.device, key or self.key
        raw = frame(
            EnrolRequest(name, "a \x1b[31mboard"), certificate_request(name, signer)
        )
        topic = TOPICS.enrolment(self.claim.claim, "req")
        return Letter("claim", self.claim.claim, self.claim_key.seal(topic, raw))

    def renewal(self, *, key: Signer | None = None, device: str = "") -> Letter:
        """Return the request it makes as a member."""
        name = device or self.device
        raw = frame(EnrolRequest(name, ""), certificate_request(name, key or self.key))
        topic = TOPICS.device(self.device, "renewal")
        return Letter("member", self.device, self.key.seal(topic, raw))


def applicant(
    folder: FleetFolder,
    device: str,
    *,
    only: bool = False,
    now: float = NOW,
    seed: str = "",
) -> Applicant:
    """Make a token and give it to a device; ``only`` that one may use it."""
    ((claim, token),) = open_claims(
        folder,
        device=device if only else "",
        for_s=600.0,
        now=now,
        random=drawn(f"claim {device} {seed}"),
    )
    _, body = expect(JoinToken, token_frame(token))
    seed_of_claim = TokenParts.from_bytes(body).seed
    return Applicant(device, claim, Signer(seed_of_claim), key_of(device))


def ask(folder: FleetFolder, *letters: Letter, now: float = NOW) -> list[Answer]:
    """Have letters answered."""
    terms = Terms(DAYS, now, drawn(f"serials {now}"))
    return answer_all(folder, letters, terms=terms)


def member(folder: FleetFolder, device: str) -> Applicant:
    """Let a device become a member."""
    joining = applicant(folder, device)
    (answer,) = ask(folder, joining.letter())
    assert answer.reason is Reason.ACCEPTED
    return joining
