"""A link on which what the server tells devices to do is signed.

The server's seals what it publishes, a device's opens what it receives: an offer, a
receipt or a greeting that the fleet's key did not sign for just this topic never
reaches the agent. ``Topics.is_sealed`` says which topics those are.
"""

import logging
from collections.abc import AsyncIterator
from dataclasses import replace

from wire_protocol.envelope import Seal, Unseal, as_it_is
from wire_protocol.errors import TrustError
from wire_protocol.link import Link, LinkEvent, Received, Traffic
from wire_protocol.topics import Topics

_log = logging.getLogger("edgefed.trust")


class SealedLink:
    """``link``, with a fleet's signatures; everything else passes as it is."""

    def __init__(
        self,
        link: Link,
        *,
        topics: Topics,
        seal: Seal = as_it_is,
        unseal: Unseal = as_it_is,
    ) -> None:
        self._link = link
        self._topics = topics
        self._seal = seal
        self._unseal = unseal
        self.untrusted = 0
        """Messages thrown away since nobody of the fleet stands for them."""

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False
    ) -> None:
        """Publish as ``Link`` does; empty payloads, which only clear, have no seal."""
        if payload and self._topics.is_sealed(topic):
            payload = self._seal(topic, payload)
        await self._link.publish(topic, payload, qos=qos, retain=retain)

    async def subscribe(self, topic_filter: str, *, qos: int = 1) -> None:
        """Subscribe as ``Link`` does."""
        await self._link.subscribe(topic_filter, qos=qos)

    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe as ``Link`` does."""
        await self._link.unsubscribe(topic_filter)

    async def events(self) -> AsyncIterator[LinkEvent]:
        """Yield what happens, without what is not trusted."""
        async for event in self._link.events():
            opened = self._opened(event)
            if opened is not None:
                yield opened

    @property
    def traffic(self) -> Traffic:
        """Bytes sent and received so far."""
        return self._link.traffic

    def _opened(self, event: LinkEvent) -> LinkEvent | None:
        if not (isinstance(event, Received) and event.payload):
            return event
        if not self._topics.is_sealed(event.topic):
            return event
        try:
            return replace(event, payload=self._unseal(event.topic, event.payload))
        except TrustError as error:
            self.untrusted += 1
            _log.warning("thrown away: %s", error)
            return None
