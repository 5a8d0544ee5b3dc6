"""Trying a broker: each probe makes connections of its own, and leaves nothing behind.

Nothing is published where anybody listens: what must be refused is tried on topics of
a device that no fleet has.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from tools.doctor.broker_verdicts import (
    Attempt,
    GreetingFacts,
    PacketFacts,
    RetainFacts,
    RoundTripFacts,
    ServerFacts,
    StrangerFacts,
)
from tools.doctor.trial import ANSWER_S, REFUSED, connected
from wire_protocol.envelope import Unseal, as_it_is
from wire_protocol.errors import ConfigError, DecodeError, TransportError
from wire_protocol.framing import expect
from wire_protocol.link import MAX_PAYLOAD_BYTES, LinkSettings, TlsFiles
from wire_protocol.messages import ServerInfo
from wire_protocol.topics import Topics

NOBODY: Final = "edgefed-doctor"
"""The id of a device that is not there."""
CLEAR_PORT: Final = 1883
_BROKERS_OWN: Final = "$SYS/#"
_ROUND_TRIPS: Final = 20
_SILENCE_S: Final = 0.5
"""A retained message comes at once, or there is none."""
_LARGE_ANSWER_S: Final = 2 * ANSWER_S
_KIB: Final = 1024

Clock: TypeAlias = Callable[[], float]


async def greet(
    settings: LinkSettings, *, clock: Clock = time.perf_counter
) -> GreetingFacts:
    """Connect, and note what the broker says of itself."""
    began = clock()
    async with connected(settings) as trial:
        return GreetingFacts(
            version=trial.version,
            seconds=clock() - began,
            max_packet_bytes=trial.limits.max_packet_bytes,
            max_qos=trial.limits.max_qos,
            retains=trial.limits.retains,
        )


async def send_and_return(
    settings: LinkSettings, topic: str, *, clock: Clock = time.perf_counter
) -> RoundTripFacts:
    """Publish small messages on ``topic``, one after the other, and hear them again."""
    acknowledged, returned = [], []
    async with connected(settings) as trial:
        await trial.listen(topic)
        for number in range(_ROUND_TRIPS):
            payload = _payload(64)
            began = clock()
            code = await trial.tell(topic, payload)
            if code is not None and code >= REFUSED:
                return RoundTripFacts(_ROUND_TRIPS, code=code)
            if code is not None:
                acknowledged.append(clock() - began)
            if await trial.heard(topic, payload):
                returned.append(clock() - began)
            elif number == 0:
                break  # nothing comes back at all; do not wait for it again and again
    return RoundTripFacts(_ROUND_TRIPS, tuple(acknowledged), tuple(returned))


async def largest_payload(
    settings: LinkSettings, topic: str, *, most: int = MAX_PAYLOAD_BYTES
) -> PacketFacts:
    """Find, to the KiB, the largest payload up to ``most`` that comes back."""
    announced, passes = await _comes_back(settings, topic, most)
    if passes:
        return PacketFacts(most, announced)
    least, over = 0, most // _KIB
    while over - least > 1:
        middle = (least + over) // 2
        _, passes = await _comes_back(settings, topic, middle * _KIB)
        least, over = (middle, over) if passes else (least, middle)
    return PacketFacts(least * _KIB, announced)


async def _comes_back(
    settings: LinkSettings, topic: str, size: int
) -> tuple[int | None, bool]:
    """Return the packet size the broker announces, and whether ``size`` comes back."""
    async with connected(settings) as trial:
        limit = trial.limits.max_packet_bytes
        try:
            await trial.listen(topic)
            payload = _payload(size)
            await trial.tell(topic, payload)
            heard = await trial.heard(topic, payload, within_s=_LARGE_ANSWER_S)
        except TransportError:
            return limit, False  # it hung up on us
        return limit, heard is not None


async def keep_and_clear(settings: LinkSettings, topic: str) -> RetainFacts:
    """Have the broker retain a message on ``topic``, come back for it, clear it."""
    payload = _payload(64)
    async with connected(settings) as trial:
        try:
            code = await trial.tell(topic, payload, retain=True)
        except TransportError as error:
            return RetainFacts(error.problem)
    if code is None or code >= REFUSED:
        return RetainFacts("no answer" if code is None else f"code {code}")
    try:
        async with connected(settings) as trial:
            await trial.listen(topic)
            kept = await trial.heard(topic, payload)
    finally:
        async with connected(settings) as trial:
            await trial.tell(topic, b"", retain=True)
    async with connected(settings) as trial:
        await trial.listen(topic)
        left = await trial.heard(topic, within_s=_SILENCE_S)
    return RetainFacts(kept=bool(kept and kept.retained), cleared=left is None)


async def try_as_device(
    settings: LinkSettings, topics: Topics, *, device: str
) -> tuple[Attempt, ...]:
    """Try what ``device``, like any other, may not do."""
    others = topics.device(NOBODY, "doctor")
    written = (
        others,
        topics.device(NOBODY, "cmd", "doctor"),
        topics.round("doctor"),
        f"{topics.root}/blob/doctor/m",
        f"{topics.root}/deploy/doctor",
        f"{topics.root}/server/doctor",
        topics.enrolment("doctor", "res"),
    )
    attempts = [await _write(settings, topic) for topic in written]
    read = (_BROKERS_OWN, topics.device("+", "info"), topics.enrolment("+", "#"))
    async with connected(settings) as trial:
        codes = await trial.listen(*read, others)
        if attempts[0].allowed is not False:
            await trial.tell(others, b"edgefed doctor")
        await asyncio.sleep(_SILENCE_S)
        own = topics.device(device, "")
        came = [one.topic for one in trial.arrived if not one.topic.startswith(own)]
    tried = [
        _read(one, code, came) for one, code in zip((*read, others), codes, strict=True)
    ]
    return _below(topics, *attempts, *tried)


def _read(topic_filter: str, code: int, came: list[str]) -> Attempt:
    """Return what came of a subscription; silence of others proves nothing.

    But a broker that shows its own topics retains them.
    """
    if any(matches(topic_filter, topic) for topic in came):
        return Attempt("read", topic_filter, allowed=True)
    known = code >= REFUSED or topic_filter == _BROKERS_OWN
    return Attempt("read", topic_filter, False if known else None)


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether ``topic`` is one that ``topic_filter`` is for (MQTT 5, 4.7)."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(
        want in ("+", level) for want, level in zip(wanted, levels, strict=True)
    )


async def try_as_server(settings: LinkSettings, topics: Topics) -> tuple[Attempt, ...]:
    """Try what the server must be able to do."""
    written = (
        topics.device(NOBODY, "cmd", "doctor"),
        f"{topics.root}/blob/doctor/m",
        f"{topics.root}/server/doctor",
        topics.enrolment("doctor", "res"),
    )
    attempts = [await _write(settings, topic) for topic in written]
    payload = _payload(64)
    async with connected(settings) as trial:
        await trial.listen(written[0])
        await trial.tell(written[0], payload)
        heard = await trial.heard(written[0], payload)
    return _below(topics, *attempts, Attempt("read", written[0], heard is not None))


def _below(topics: Topics, *attempts: Attempt) -> tuple[Attempt, ...]:
    """Return ``attempts`` with the topics below the fleet's, for people."""
    root = f"{topics.root}/"
    return tuple(replace(one, topic=one.topic.removeprefix(root)) for one in attempts)


async def _write(settings: LinkSettings, topic: str) -> Attempt:
    """Try to publish; with MQTT 3.1.1 only what comes back shows that it was allowed.

    A broker may hang up on who tries (EMQX can be told to), which is a refusal too.
    """
    payload = _payload(64)
    try:
        async with connected(settings) as trial:
            if trial.version == "3.1.1":
                await trial.listen(topic)
            code = await trial.tell(topic, payload)
            if trial.version == "5":
                return Attempt("write", topic, None if code is None else code < REFUSED)
            heard = await trial.heard(topic, payload, within_s=_SILENCE_S)
            return Attempt("write", topic, True if heard else None)
    except TransportError:
        return Attempt("write", topic, allowed=False)


async def try_as_stranger(settings: LinkSettings) -> StrangerFacts:
    """Try to get in without a certificate and a password, and at the clear port."""
    if settings.tls is None and settings.login is None:
        return StrangerFacts(settings.port, None)
    tls = TlsFiles(settings.tls.authority) if settings.tls else None
    bare = replace(settings, tls=tls, login=None, identity=f"{NOBODY}-stranger")
    clear = None
    if settings.port != CLEAR_PORT:
        clear = await _gets_in(replace(bare, port=CLEAR_PORT, tls=None))
    return StrangerFacts(settings.port, await _gets_in(bare), clear)


async def _gets_in(settings: LinkSettings) -> bool:
    try:
        async with connected(settings):
            return True
    except TransportError:
        return False


async def look_for_server(
    settings: LinkSettings, topics: Topics, *, unseal: Unseal = as_it_is
) -> ServerFacts:
    """Read what the server retained, and check that it is the fleet's.

    Raises:
        TransportError: The broker does not answer.
    """
    async with connected(settings) as trial:
        await trial.listen(topics.server_availability, topics.server_info)
        availability = await trial.heard(
            topics.server_availability, within_s=_SILENCE_S
        )
        info = await trial.heard(topics.server_info, within_s=_SILENCE_S)
    told = None
    if availability is not None:
        told = availability.payload[:16].decode("ascii", errors="replace")
    if info is None:
        return ServerFacts(told, None)
    try:
        head, _ = expect(ServerInfo, unseal(info.topic, info.payload))
    except (DecodeError, ConfigError) as error:
        return ServerFacts(told, None, error.problem)
    return ServerFacts(told, head)


def _payload(size: int) -> bytes:
    """Return ``size`` bytes that no other message has, and that are no frame."""
    head = b"edgefed doctor " + secrets.token_hex(8).encode()
    return head[:size].ljust(size, b".")
