"""Takeover: ending a live session that no more certificate opens.

A broker looks at certificates when somebody connects, and never again. But two clients
of one name cannot be connected together, the newer one wins (MQTT 5.0, section 3.1.4),
and names are those in certificates: so whoever has the authority makes a certificate of
that name, connects, and waits for as long as the other one might try to come back.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from broker_server.fleet_folder import RandomBytes
from broker_server.passing_certificate import passing_certificate
from wire_protocol.certificates import Authority
from wire_protocol.link import (
    Connected,
    Disconnected,
    LinkEvent,
    LinkSettings,
    TlsFiles,
)
from wire_protocol.mqtt import MqttLink

HOLD_S: Final = 2.0
"""Undisturbed for so long, we have won: who lost its session would be back sooner."""
_PATIENCE_S: Final = 20.0
_CERTIFICATE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Bouncer:
    """Who ends sessions, at the broker on ``host`` and ``port``.

    ``authority`` issues, ``authority_file`` is its certificate, in ``folder`` a key
    lies for the moment it is used. ``clock`` tells seconds since 1970.
    """

    host: str
    port: int
    authority: Authority
    authority_file: Path
    folder: Path
    clock: Callable[[], float]
    random: RandomBytes
    hold_s: float = HOLD_S

    async def end_session(self, name: str) -> bool:
        """Take over the session of ``name``; return whether it is known to have ended.

        False means that we could not connect, or were thrown out again and again.
        """
        with TemporaryDirectory(prefix=".takeover-", dir=self.folder) as folder:
            files = self._identity(name, Path(folder))
            settings = LinkSettings(self.host, self.port, identity=name, tls=files)
            try:
                async with (
                    asyncio.timeout(_PATIENCE_S),
                    MqttLink(settings, jitter=lambda: 0.2) as link,
                ):
                    await self._hold(link)
            except TimeoutError:
                return False
        return True

    async def _hold(self, link: MqttLink) -> None:
        events = link.events()
        connected = False
        waiting: asyncio.Future[LinkEvent] = asyncio.ensure_future(anext(events))
        try:
            while True:
                limit = self.hold_s if connected else None
                done, _ = await asyncio.wait({waiting}, timeout=limit)
                if not done:
                    return
                match waiting.result():
                    case Connected():
                        connected = True
                    case Disconnected():
                        connected = False
                    case _:
                        pass
                waiting = asyncio.ensure_future(anext(events))
        finally:
            waiting.cancel()

    def _identity(self, name: str, folder: Path) -> TlsFiles:
        return passing_certificate(
            name,
            folder,
            by=self.authority,
            trusting=self.authority_file,
            not_after=self.clock() + _CERTIFICATE_S,
            random=self.random,
        )
