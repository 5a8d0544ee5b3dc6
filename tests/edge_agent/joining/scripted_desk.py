"""A fleet that makes tokens and answers requests by hand, so also wrongly."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes import MemoryBroker, MemoryLink
from wire_protocol.certificates import (
    Authority,
    new_authority,
    requested_key,
    serial_from,
)
from wire_protocol.enrolment import (
    EnrolGrant,
    EnrolRefusal,
    EnrolRequest,
    JoinToken,
    TokenParts,
    token_text,
)
from wire_protocol.errors import Reason
from wire_protocol.framing import expect, frame
from wire_protocol.link import Link, LinkSettings, Received
from wire_protocol.signing import Signer, Verifier
from wire_protocol.topics import Topics

END = 1_900_000_000.0
TOPICS = Topics("home")
CLAIM = Signer(b"c" * 32)


def new_fleet(seed: int = 1) -> Authority:
    """Found a fleet's authority."""
    return new_authority("edgefed home", Signer(bytes([seed]) * 32), serial=seed)


@dataclass
class ScriptedDesk:
    """One fleet and its claims; ``book`` outlives it, as a server's folder does."""

    book: Path
    authority: Authority = field(default_factory=new_fleet)
    signer: Signer = field(default_factory=lambda: Signer(b"f" * 32))
    claim: str = "claim.0000000000"
    refusal: Reason | None = None
    spoil: Callable[[bytes], bytes] = lambda answer: answer
    """What becomes of an answer on its way."""
    vouches_for: bytes | None = None
    """A key that the certificate is of, whoever asked."""
    sends: bytes | None = None
    """What is sent instead of the certificate."""
    asked: int = 0
    answers: bool = True

    def token(self, *, device: str = "", **other: object) -> str:
        """Return a token."""
        certificate = self.authority.issue(
            self.claim,
            CLAIM.public,
            serial=serial_from(b"claim"),
            not_after=END,
        )
        parts: dict[str, bytes] = {
            "seed": CLAIM.seed,
            "fleet_key": self.signer.public,
            "authority": self.authority.certificate.der,
            "certificate": certificate.der,
        }
        head: dict[str, object] = {
            "host": "127.0.0.1",
            "port": 8883,
            "fleet": "home",
            "claim": self.claim,
            "device": device,
        }
        for name, value in other.items():
            if isinstance(value, bytes):
                parts[name] = value
            else:
                head[name] = value
        body = TokenParts(**parts).to_bytes()
        return token_text(frame(JoinToken(**head), body))  # type: ignore[arg-type]

    def open_another(self) -> None:
        """Make another claim."""
        self.claim = "claim.1111111111"
        self.book.unlink(missing_ok=True)

    def answer(self, topic: str, payload: bytes) -> bytes:
        """Answer a request; the same key gets the same certificate again."""
        self.asked += 1
        plain = Verifier(CLAIM.public).unseal(topic, payload)
        request, csr = expect(EnrolRequest, plain)
        public = requested_key(csr, device=request.device)
        taken = self.taken_by
        reason = self.refusal
        if taken not in (None, public.hex()):
            reason = Reason.CLAIM_OVER
        if reason is not None:
            return frame(EnrolRefusal(request.device, reason))
        self.book.write_text(json.dumps({"taken_by": public.hex()}))
        made = self.authority.issue(
            request.device,
            self.vouches_for or public,
            serial=serial_from(public[:15]),
            not_after=END,
        )
        return frame(EnrolGrant(request.device), self.sends or made.der)

    @property
    def taken_by(self) -> str | None:
        """The key that used the claim."""
        if not self.book.exists():
            return None
        return str(json.loads(self.book.read_text())["taken_by"])

    async def serve(self, link: Link) -> None:
        """Answer until cancelled."""
        await link.subscribe(TOPICS.enrolment("+", "req"))
        async for event in link.events():
            if isinstance(event, Received) and self.answers:
                plain = self.answer(event.topic, event.payload)
                topic = event.topic.removesuffix("req") + "res"
                await link.publish(topic, self.spoil(self.signer.seal(topic, plain)))


class Network:
    """A broker in memory with a desk behind it; ``connect`` is for ``Attempt``."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.settings: list[LinkSettings] = []

    def connect(self, settings: LinkSettings) -> MemoryLink:
        """Return a link, as a device makes one."""
        self.settings.append(settings)
        return self.broker.link()
