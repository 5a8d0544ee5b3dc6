"""The checks of a broker that device and server share, from its name to its limits."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from tools.doctor.broker_probes import (
    greet,
    keep_and_clear,
    largest_payload,
    send_and_return,
)
from tools.doctor.broker_verdicts import (
    USUAL_BLOCK_BYTES,
    judge_greeting,
    judge_packets,
    judge_retain,
    judge_round_trips,
)
from tools.doctor.examination import Check, in_thread
from tools.doctor.findings import Finding
from tools.doctor.network_probes import look_up, reach, shake_hands
from tools.doctor.network_verdicts import judge_handshake, judge_name, judge_reach
from wire_protocol.link import LinkSettings

LIVE_S = 90.0
"""For a check that makes many connections, some of them to no avail."""


@dataclass(slots=True)
class Meeting:
    """How the broker is met, and what was learned of it meanwhile.

    Attributes:
        settings: How to connect, during a check; may raise ``EdgefedError``.
        absent: Returns why there is no broker to meet now, if so.
        barred: Returns why we must not log in now, if so.
        topic: One that nobody listens to, and that we may write and read.
        block_bytes: What has to get through.
    """

    settings: Callable[[], AbstractContextManager[LinkSettings]]
    absent: Callable[[], Finding | None]
    barred: Callable[[], Finding | None]
    topic: str
    block_bytes: int = USUAL_BLOCK_BYTES

    def check(
        self,
        name: str,
        examine: Callable[[LinkSettings], Awaitable[Finding]],
        *,
        needs: tuple[str, ...] = ("mqtt",),
    ) -> Check:
        """Return a check that logs in."""

        async def unless_barred() -> Finding:
            barred = self.barred()
            if barred is not None:
                return barred
            with self.settings() as settings:
                return await examine(settings)

        return Check(name, unless_barred, timeout_s=LIVE_S, needs=needs)


def way_checks(meeting: Meeting) -> list[Check]:
    """Return the checks of the way to the broker, until it lets us in."""

    async def name() -> Finding:
        absent = meeting.absent()
        if absent is not None:
            return absent
        with meeting.settings() as settings:
            look = partial(look_up, settings.host, settings.port)
            return judge_name(await in_thread(look))

    async def tcp() -> Finding:
        with meeting.settings() as settings:
            go = partial(reach, settings.host, settings.port)
            return judge_reach(await in_thread(go))

    async def tls() -> Finding:
        with meeting.settings() as settings:
            facts = None
            if settings.tls is not None:
                shake = partial(
                    shake_hands, settings.host, settings.port, files=settings.tls
                )
                facts = await in_thread(shake)
            return judge_handshake(facts, now=time.time())

    async def mqtt(settings: LinkSettings) -> Finding:
        return judge_greeting(await greet(settings))

    return [
        Check("broker name", name, timeout_s=20.0),
        Check("tcp", tcp, timeout_s=30.0, needs=("broker name",)),
        Check("tls", tls, timeout_s=20.0, needs=("tcp",)),
        meeting.check("mqtt", mqtt, needs=("tcp",)),
    ]


def message_checks(meeting: Meeting) -> list[Check]:
    """Return the checks of what the broker takes and keeps."""

    async def round_trips(settings: LinkSettings) -> Finding:
        return judge_round_trips(await send_and_return(settings, meeting.topic))

    async def retain(settings: LinkSettings) -> Finding:
        return judge_retain(await keep_and_clear(settings, meeting.topic))

    async def packets(settings: LinkSettings) -> Finding:
        facts = await largest_payload(settings, meeting.topic)
        return judge_packets(facts, block_bytes=meeting.block_bytes)

    return [
        meeting.check("qos 1", round_trips),
        meeting.check("retain", retain, needs=("qos 1",)),
        meeting.check("packet size", packets, needs=("qos 1",)),
    ]
