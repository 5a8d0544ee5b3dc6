"""A new certificate in a running agent: asked for, checked, and used."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.membership import IdentityFolder
from edge_agent.renewal import Renewal, ends, pem, public_key
from tests.edge_agent.agents import running_agent
from tests.edge_agent.joining.joins import identity_of, joined
from tests.edge_agent.joining.scripted_desk import (
    END,
    TOPICS,
    ScriptedDesk,
    new_fleet,
)
from tests.fakes import MemoryBroker
from wire_protocol.certificates import read_certificate, requested_key, serial_from
from wire_protocol.enrolment import (
    EnrolGrant,
    EnrolRefusal,
    EnrolRequest,
    RenewalCall,
)
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect, frame
from wire_protocol.signing import Signer, Verifier
from wire_protocol.tls import client_context

NEXT = END + 86_400
AUTHORITY = new_fleet()


@dataclass
class Member:
    """A device that has joined, and what it publishes."""

    identity: IdentityFolder
    broker: MemoryBroker

    def receive(self, payload: bytes) -> list[bytes]:
        """Receive ``payload``; return what is published on ``renewal`` for it."""

        async def received() -> None:
            renewal = Renewal(
                self.broker.link(),
                topics=TOPICS,
                identity=self.identity,
                seal=self.identity.signer.seal,
            )
            chores: list[asyncio.Task[None]] = []
            renewal.receive(
                payload, begin=lambda call: chores.append(asyncio.ensure_future(call))
            )
            await asyncio.gather(*chores)

        asyncio.run(received())
        return self.broker.sent(TOPICS.device("kitchen", "renewal"))

    def issued(self, *, public: bytes | None = None, not_after: float = NEXT) -> bytes:
        """Return a new certificate as the fleet answers with it."""
        made = AUTHORITY.issue(
            "kitchen",
            public or self.identity.signer.public,
            serial=serial_from(b"renewed"),
            not_after=not_after,
        )
        return frame(EnrolGrant("kitchen"), made.der)

    @property
    def not_after(self) -> float:
        """When the certificate in use ends."""
        raw = (self.identity.path / "device.crt").read_bytes()
        return read_certificate(raw).not_after


@pytest.fixture
def member(tmp_path: Path) -> Member:
    joined(tmp_path, ScriptedDesk(tmp_path / "book.json"))
    return Member(identity_of(tmp_path), MemoryBroker())


def test_a_call_is_answered_with_the_request_of_the_first_day(member: Member) -> None:
    (sealed,) = member.receive(frame(RenewalCall(86_400 * 20)))
    topic = TOPICS.device("kitchen", "renewal")
    plain = Verifier(member.identity.signer.public).unseal(topic, sealed)
    request, csr = expect(EnrolRequest, plain)
    assert request.device == "kitchen"
    assert requested_key(csr, device="kitchen") == member.identity.signer.public


def test_a_new_certificate_is_used_from_now_on(member: Member) -> None:
    assert member.not_after == END
    member.receive(member.issued())
    assert member.not_after == NEXT
    client_context(member.identity.tls)
    assert not (member.identity.path / "renewed.crt").exists()


def test_an_agent_at_work_is_renewed_when_the_fleet_calls(
    member: Member, tmp_path: Path
) -> None:
    fleet = Signer(b"f" * 32)
    call, answer, asked = (
        TOPICS.device("kitchen", *rest)
        for rest in (("cmd", "renew"), ("cmd", "certificate"), ("renewal",))
    )

    async def scenario() -> None:
        broker = member.broker
        calling = fleet.seal(call, frame(RenewalCall(100)))
        async with running_agent(
            broker, tmp_path, device="kitchen", identity=member.identity
        ):
            await broker.until(
                lambda: broker.count(TOPICS.device("kitchen", "info")) > 0
            )
            broker.deliver(call, frame(RenewalCall(100)))  # nobody stands for it
            broker.deliver(call, calling)
            await broker.until(lambda: broker.count(asked) == 1)
            broker.deliver(answer, fleet.seal(answer, member.issued()))
            broker.deliver(call, calling)
            await broker.until(lambda: broker.count(asked) == 2)

    asyncio.run(scenario())
    assert member.not_after == NEXT


def test_an_old_answer_that_is_repeated_changes_nothing(member: Member) -> None:
    member.receive(member.issued())
    for earlier in (END, NEXT):
        member.receive(member.issued(not_after=earlier))
        assert member.not_after == NEXT


REFUSED = {
    "of another key": lambda one: one.issued(public=Signer(b"o" * 32).public),
    "no certificate": lambda _: frame(EnrolGrant("kitchen"), b"rubbish"),
    "empty": lambda _: frame(EnrolGrant("kitchen")),
    "too large": lambda _: frame(EnrolGrant("kitchen"), bytes(5000)),
    "another message": lambda _: frame(EnrolRequest("kitchen", "")),
    "no frame": lambda _: b"rubbish",
}


@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED)
def test_what_is_no_certificate_of_ours_is_dropped(
    member: Member, payload: object
) -> None:
    with pytest.raises(DecodeError):
        member.receive(payload(member))  # type: ignore[operator]
    assert member.not_after == END


def test_what_openssl_does_not_take_is_not_used(
    member: Member, caplog: pytest.LogCaptureFixture
) -> None:
    whole = member.issued()
    member.receive(whole.replace(b"\x30\x82", b"\x30\x83", 1))
    assert "is of no use" in caplog.text
    assert member.not_after == END
    member.receive(whole)
    assert member.not_after == NEXT


def test_people_are_told_of_a_refusal_and_of_a_lost_request(
    member: Member, caplog: pytest.LogCaptureFixture
) -> None:
    member.receive(frame(EnrolRefusal("kitchen", Reason.UNTRUSTED)))
    assert "let this device join anew" in caplog.text
    (member.identity.path / "device.csr").unlink()
    assert not member.receive(frame(RenewalCall(1)))
    assert "edgefed agent join --anew" in caplog.text


@settings(max_examples=20)
@given(
    seed=st.binary(min_size=32, max_size=32),
    name=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True),
    not_after=st.integers(1_000_000, 2_524_000_000),
)
def test_what_is_found_in_a_certificate_is_what_a_library_reads(
    seed: bytes, name: str, not_after: int
) -> None:
    made = AUTHORITY.issue(
        name, Signer(seed).public, serial=serial_from(seed), not_after=not_after
    )
    assert public_key(made.der) == made.public
    assert read_certificate(pem(made.der)) == made
    later = AUTHORITY.issue(
        name, Signer(seed).public, serial=serial_from(seed), not_after=not_after + 1
    )
    assert ends(later.der) > ends(made.der)
