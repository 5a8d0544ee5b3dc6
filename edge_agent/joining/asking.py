"""The conversation in which a device becomes a member, on one link.

It listens before it asks, asks again while no answer comes, and believes only what the
fleet signed for just this claim: docs/protocol.md, "Joining a fleet".
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge_agent.joining.claim import OpenClaim
from edge_agent.joining.staging import Request
from wire_protocol.certificates import Certificate, check_issued, read_certificate
from wire_protocol.enrolment import EnrolGrant, EnrolRefusal, EnrolRequest
from wire_protocol.errors import (
    DecodeError,
    Reason,
    RefusedError,
    TransportError,
    TrustError,
)
from wire_protocol.framing import frame, parse_frame
from wire_protocol.link import Disconnected, Link, Received

ASK_AGAIN_S: Final = 2.0
_REFUSALS: Final = {
    Reason.CLAIM_OVER: (
        "this token was used by another device, was withdrawn, or its time is over",
        "print a new one with 'edgefed devices join', and use it in time",
    ),
    Reason.REVOKED: (
        "{device!r} was locked out of the fleet",
        "'edgefed devices forget {device}' makes the name free; then use a new token",
    ),
    Reason.NAME_TAKEN: (
        "another device of the fleet is called {device!r}",
        (
            "choose another [agent] device; if it was this one, with another card, "
            "'edgefed devices forget {device}' makes the name free"
        ),
    ),
}
_OTHER: Final = (
    "the fleet refuses this device: {reason}",
    "docs/errors.md says what that is; try with a new token",
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: to be ``device``, known by the key in ``request``.

    ``hardware`` is what the device is, for people.
    """

    device: str
    request: Request
    hardware: str


async def ask(
    link: Link, claim: OpenClaim, *, wish: Wish, tell: Callable[[str], None]
) -> Certificate:
    """Ask until there is an answer, and return the certificate; the caller ends it.

    ``tell`` is called with whatever is in the way meanwhile.

    Raises:
        RefusedError: The fleet says no, or answers with a certificate that is not ours.
        TransportError: The broker refuses the subscription.
    """
    topics, name = claim.topics, claim.token.claim
    answers = topics.enrolment(name, "res")
    await link.subscribe(answers)
    topic = topics.enrolment(name, "req")
    plain = frame(EnrolRequest(wish.device, wish.hardware), wish.request.der)
    asking = asyncio.create_task(
        _ask_again(link, topic, claim.signer.seal(topic, plain))
    )
    try:
        async for event in link.events():
            if isinstance(event, Disconnected):
                tell(event.reason)
            elif isinstance(event, Received) and event.topic == answers:
                try:
                    found = read_answer(claim, event.payload, wish=wish)
                except DecodeError as error:
                    tell(f"what came as an answer is not one: {error.problem}")
                else:
                    return found
    finally:
        asking.cancel()
        await asyncio.wait({asking})
    raise TransportError("the link was closed")


async def _ask_again(link: Link, topic: str, sealed: bytes) -> None:
    while True:
        with contextlib.suppress(TransportError):  # the link comes back by itself
            await link.publish(topic, sealed)
        await asyncio.sleep(ASK_AGAIN_S)


def read_answer(claim: OpenClaim, payload: bytes, *, wish: Wish) -> Certificate:
    """Return the certificate in an answer.

    Raises:
        RefusedError: The answer is no, or the certificate is not ours.
        DecodeError: It is no answer, or not by the fleet.
    """
    topic = claim.topics.enrolment(claim.token.claim, "res")
    parsed = parse_frame(claim.fleet_key.unseal(topic, payload))
    match parsed.message:
        case EnrolGrant(device) if device == wish.device:
            return _checked(parsed.body, claim, wish=wish)
        case EnrolRefusal(_, reason):
            problem, remedy = _REFUSALS.get(reason, _OTHER)
            words = {"device": wish.device, "reason": reason}
            raise RefusedError(problem.format(**words), remedy=remedy.format(**words))
        case other:
            raise DecodeError(f"{other.kind} is no answer to this request")


def _checked(raw: bytes, claim: OpenClaim, *, wish: Wish) -> Certificate:
    """Return the certificate in ``raw`` if it makes us a member."""
    try:
        found = read_certificate(raw)
        check_issued(found, by=claim.authority)
        if (found.name, found.public) != (wish.device, wish.request.signer.public):
            raise TrustError(f"it is of {found.name!r}, or of another key")
    except DecodeError as error:
        raise RefusedError(
            f"the fleet answered with a certificate that is not ours: {error.problem}",
            remedy="both sides must be of one version; try again with a new token",
        ) from error
    return found
