"""A sealed link: what devices act on is the fleet's word, or it never arrives."""

import asyncio

import pytest

from tests.fakes import MemoryBroker
from wire_protocol.link import Received
from wire_protocol.sealed_link import SealedLink
from wire_protocol.signing import Signer, Verifier
from wire_protocol.topics import Topics

FLEET = Signer(bytes(32))
TOPICS = Topics("home")
SEALED = (
    TOPICS.server_info,
    TOPICS.round(3),
    TOPICS.device("pi", "cmd", "receipt"),
    TOPICS.device("pi", "cmd", "renew"),
    TOPICS.device("pi", "cmd", "anything-new"),
    TOPICS.enrolment("claim.0a", "res"),
)
OPEN = (
    TOPICS.server_availability,
    TOPICS.server_state,
    TOPICS.blocks("ab" * 32, 0),
    TOPICS.device("pi", "cmd", "need"),
    TOPICS.device("pi", "info"),
    TOPICS.device("pi", "up", "01" * 8, "b", "0"),
    TOPICS.enrolment("claim.0a", "req"),
    "sensors/room/temperature",
)


async def _heard(topic: str, payload: bytes, *, honest: bool) -> list[bytes]:
    broker = MemoryBroker()
    server = SealedLink(broker.link(), topics=TOPICS, seal=FLEET.seal)
    inner = broker.link()
    device = SealedLink(inner, topics=TOPICS, unseal=Verifier(FLEET.public).unseal)
    await device.subscribe(topic)
    if honest:
        await server.publish(topic, payload)
    else:
        broker.deliver(topic, payload)
    async with inner:
        pass
    return [
        event.payload async for event in device.events() if isinstance(event, Received)
    ]


def heard(topic: str, payload: bytes, *, honest: bool) -> list[bytes]:
    """Return what a device hears on ``topic``, of its server or of the broker."""
    return asyncio.run(_heard(topic, payload, honest=honest))


@pytest.mark.parametrize("topic", [*SEALED, *OPEN])
def test_what_the_server_says_arrives(topic: str) -> None:
    assert heard(topic, b"frame", honest=True) == [b"frame"]


@pytest.mark.parametrize("topic", SEALED)
def test_what_nobody_stands_for_does_not(topic: str) -> None:
    assert heard(topic, b"frame", honest=False) == []


@pytest.mark.parametrize("other", [topic for topic in SEALED if topic != SEALED[0]])
def test_what_was_said_elsewhere_does_not(other: str) -> None:
    replayed = FLEET.seal(other, b"frame")
    assert heard(other, replayed, honest=False) == [b"frame"]
    assert heard(SEALED[0], replayed, honest=False) == []


@pytest.mark.parametrize("topic", OPEN)
def test_the_rest_needs_no_signature(topic: str) -> None:
    assert heard(topic, b"frame", honest=False) == [b"frame"]


@pytest.mark.parametrize("topic", SEALED)
def test_clearing_needs_no_signature(topic: str) -> None:
    assert heard(topic, b"", honest=True) == [b""]
