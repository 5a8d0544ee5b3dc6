"""A trial: a mosquitto of its own with the policy, and acts it must allow or refuse.

It runs on a free port of the loopback interface, with certificates made for the
occasion: no device of the fleet notices. What does not arrive is proven by a message
that was sent after it and does.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from broker_server.broker_policy.findings import Finding
from broker_server.broker_policy.fleet_broker import fleet_broker
from broker_server.broker_policy.policy_folder import Listening
from broker_server.fleet_folder import FleetFolder, RandomBytes
from broker_server.passing_certificate import passing_certificate
from wire_protocol.certificates import Authority, new_authority, serial_from
from wire_protocol.errors import EdgefedError, TransportError
from wire_protocol.link import LinkEvent, LinkSettings, Received, TlsFiles
from wire_protocol.mqtt import MqttLink
from wire_protocol.signing import Signer
from wire_protocol.topics import Topics

ONE: Final = "edgefed-check-1"
TWO: Final = "edgefed-check-2"
SERVER: Final = "server"
_PATIENCE_S: Final = 10.0
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Act:
    """``speaker`` says something on ``topic`` while ``listener`` hears ``heard``."""

    name: str
    speaker: str
    topic: str
    listener: str
    heard: str
    allowed: bool


def acts(topics: Topics) -> tuple[Act, ...]:
    """Return what is tried among a server and two devices."""
    everything = f"{topics.root}/#"
    mine, yours = topics.device(ONE, "info"), topics.device(TWO, "info")
    offers, block = topics.round("+"), topics.blocks("0" * 64, 0)
    return (
        Act("a device speaks for itself", ONE, mine, SERVER, everything, True),
        Act("a device hears rounds", SERVER, topics.round(1), ONE, offers, True),
        Act("a device hears blobs", SERVER, block, ONE, block, True),
        Act("a device speaks for another", ONE, yours, SERVER, everything, False),
        Act("a device offers rounds", ONE, topics.round(2), TWO, offers, False),
        Act("a device sends blobs", ONE, block, TWO, block, False),
        Act("a device hears another", TWO, yours, ONE, yours, False),
        Act("a device hears everything", TWO, yours, ONE, "#", False),
    )


@dataclass(frozen=True, slots=True)
class Trial:
    """Tries the policy of ``fleet``; ``clock`` tells seconds since 1970."""

    fleet: FleetFolder
    clock: Callable[[], float]
    random: RandomBytes

    async def findings(self) -> list[Finding]:
        """Return one finding for each act, or one that it could not be tried."""
        with TemporaryDirectory(prefix="edgefed-trial-") as name:
            folder = Path(name)
            try:
                async with (
                    asyncio.timeout(6 * _PATIENCE_S),
                    fleet_broker(
                        self.fleet,
                        folder / "broker",
                        listening=Listening("127.0.0.1", 0),
                        clock=self.clock,
                        random=self.random,
                    ) as broker,
                ):
                    tried = await self._acts(broker.port, folder)
                    return tried + await self._strangers(broker.port, folder)
            except (EdgefedError, TimeoutError) as error:
                told = str(error) or "it took too long"
                return [Finding("a trial", False, told, "see what mosquitto says")]

    async def _acts(self, port: int, folder: Path) -> list[Finding]:
        topics = Topics(self.fleet.fleet.fleet)
        files = {name: self._issue(name, folder) for name in (ONE, TWO)}
        files[SERVER] = self.fleet.server_tls
        async with AsyncExitStack() as stack:
            parties = {}
            for name, tls in files.items():
                settings = LinkSettings("127.0.0.1", port, identity=name, tls=tls)
                link = await stack.enter_async_context(
                    MqttLink(settings, fail_fast=True)
                )
                parties[name] = _Party(link, link.events())
            count = itertools.count()
            found = []
            for act in acts(topics):
                number = next(count)
                arrived = await _arrives(act, parties, topics, number=number)
                found.append(
                    Finding(
                        act.name,
                        arrived == act.allowed,
                        "allowed" if arrived else "refused",
                        "" if arrived == act.allowed else "report this as a defect",
                    )
                )
            return found

    async def _strangers(self, port: int, folder: Path) -> list[Finding]:
        trusted = self.fleet.path / "authority.crt"
        foreign = new_authority(
            self.fleet.authority.certificate.name,
            Signer(self.random(32)),
            serial=serial_from(self.random(15)),
        )
        strangers = {
            "no certificate": TlsFiles(trusted),
            "a certificate of another authority": self._issue(
                "stranger", folder, by=foreign
            ),
            "a certificate that has ended": self._issue(
                "late", folder, not_after=self.clock() - _HOUR_S
            ),
        }
        found = []
        for name, tls in strangers.items():
            settings = LinkSettings("127.0.0.1", port, identity="any", tls=tls)
            try:
                async with MqttLink(settings, fail_fast=True):
                    found.append(
                        Finding(name, False, "allowed", "report this as a defect")
                    )
            except TransportError:
                found.append(Finding(name, True, "refused"))
        return found

    def _issue(
        self,
        name: str,
        folder: Path,
        *,
        by: Authority | None = None,
        not_after: float | None = None,
    ) -> TlsFiles:
        return passing_certificate(
            name,
            folder,
            by=by or self.fleet.authority,
            trusting=self.fleet.path / "authority.crt",
            not_after=self.clock() + _HOUR_S if not_after is None else not_after,
            random=self.random,
        )


@dataclass(frozen=True, slots=True)
class _Party:
    link: MqttLink
    events: AsyncIterator[LinkEvent]

    async def heard_before(self, last: bytes) -> list[bytes]:
        came: list[bytes] = []
        async with asyncio.timeout(_PATIENCE_S):
            async for event in self.events:
                if isinstance(event, Received):
                    if event.payload == last:
                        break
                    came.append(event.payload)
        return came


async def _arrives(
    act: Act, parties: dict[str, _Party], topics: Topics, *, number: int
) -> bool:
    said, last = b"said %d" % number, b"last %d" % number
    listener, server = parties[act.listener], parties[SERVER]
    name = act.listener
    own = topics.server_state if name == SERVER else topics.device(name, "cmd", "need")
    await listener.link.subscribe(act.heard)
    await listener.link.subscribe(own)
    await parties[act.speaker].link.publish(act.topic, said)
    await server.link.publish(own, last)
    came = await listener.heard_before(last)
    for heard in (act.heard, own):
        await listener.link.unsubscribe(heard)
    return said in came
