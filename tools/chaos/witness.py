"""A witness at the broker: it writes down every acceptance that the server sent out.

It has a link of its own that no fault touches but the broker's end, and does not ask
the server anything.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from tools.chaos.ledger import Acceptance
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect
from wire_protocol.link import LinkSettings, Received
from wire_protocol.messages import UpdateReceipt
from wire_protocol.mqtt import MqttLink
from wire_protocol.topics import Topics

_RETRY_PART: Final = 0.02
"""Of the longest wait: a witness is back before those it watches."""


def eager_link(port: int, *, identity: str) -> MqttLink:
    """Return a link for watching, which comes back at once when its broker does."""
    return MqttLink(
        LinkSettings("127.0.0.1", port, identity=identity, protocol="5"),
        fail_fast=True,
        jitter=lambda: _RETRY_PART,
    )


@dataclass(slots=True)
class Sightings:
    """What the witness saw: acceptances, and other receipts by reason."""

    accepted: set[Acceptance] = field(default_factory=set)
    others: dict[Reason, int] = field(default_factory=dict)

    def take(self, levels: tuple[str, ...], payload: bytes) -> None:
        """Take in a message; what is no receipt changes nothing."""
        match levels:
            case ("d", device, "cmd", "receipt"):
                try:
                    receipt, _ = expect(UpdateReceipt, payload)
                except DecodeError:
                    return
                if receipt.reason is Reason.ACCEPTED:
                    self.accepted.add((receipt.round, device, receipt.transfer))
                else:
                    count = self.others.get(receipt.reason, 0)
                    self.others[receipt.reason] = count + 1


@contextlib.asynccontextmanager
async def witness(port: int, topics: Topics) -> AsyncIterator[Sightings]:
    """Watch the broker on ``port`` while the block runs."""
    sightings = Sightings()
    async with eager_link(port, identity="witness") as link:
        await link.subscribe(topics.device("+", "cmd", "receipt"))
        watching = asyncio.create_task(_watch(link, topics, sightings))
        try:
            yield sightings
        finally:
            watching.cancel()
            await asyncio.wait({watching})


async def _watch(link: MqttLink, topics: Topics, sightings: Sightings) -> None:
    async for event in link.events():
        if isinstance(event, Received):
            with contextlib.suppress(DecodeError):
                sightings.take(topics.levels(event.topic), event.payload)
