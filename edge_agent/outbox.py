"""The outbox on the wire: an update is sent again and again until it is receipted."""

from collections.abc import Callable

from edge_agent.sending import Sender
from wire_protocol.blobs import Need
from wire_protocol.cutting import block_bytes_within
from wire_protocol.link import Link
from wire_protocol.messages import ServerInfo
from wire_protocol.topics import Topics


class Outbox:
    """Sends one update at a time; cancelling ``send`` ends it."""

    def __init__(
        self,
        link: Link,
        *,
        topics: Topics,
        device: str,
        jitter: Callable[[], float],
    ) -> None:
        self._link = link
        self._topics = topics
        self._device = device
        self._jitter = jitter
        self._sender: Sender | None = None
        self.beginnings = 0
        """How often sending began, or began anew."""
        self.max_packet_bytes: int | None = None
        """What the broker of the present connection takes, where it says so."""

    async def send(self, update: bytes, *, info: ServerInfo) -> None:
        """Send ``update``, at growing intervals, until cancelled."""
        self._sender = Sender(
            self._link,
            update,
            topics=self._topics,
            device=self._device,
            block_bytes=lambda: block_bytes_within(
                info.block_bytes, self.max_packet_bytes
            ),
            resend_s=info.resend_s,
            jitter=self._jitter,
        )
        self.beginnings += 1
        try:
            await self._sender.run()
        finally:
            self._sender = None

    def take(self, need: Need) -> None:
        """Send the blocks that the server lacks."""
        if self._sender is not None:
            self._sender.take(need)

    def nudge(self) -> None:
        """Send again now: the other side may have forgotten what it had."""
        if self._sender is not None:
            self.beginnings += 1
            self._sender.nudge()
