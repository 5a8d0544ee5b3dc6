"""Device limits: what one device may send, and may have sent to it, in which time.

What is over a limit is dropped before it is looked into, and counted. That is a lost
message to both sides, which the protocol outlives: a device that did nothing wrong is
slower for it, and no more.
"""

import time
from collections.abc import Callable

from broker_server.complaints import Complaints
from broker_server.config import LimitsSection
from broker_server.limits import Meters, Rate
from broker_server.registry import MAX_DEVICES
from wire_protocol.cutting import block_count
from wire_protocol.errors import DecodeError, Reason


class DeviceLimits:
    """The limits of every device, each measured for itself.

    Args:
        limits: As configured. Bursts are raised to hold the updates that may be under
            way at once, so that no model is too large for its own server.
        max_update_bytes: Of the largest update.
        block_bytes: Of a block, as the server cuts.
        clock: Steady, in seconds.
    """

    def __init__(
        self,
        limits: LimitsSection,
        *,
        max_update_bytes: int,
        block_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        blocks = limits.transfers * block_count(
            max_update_bytes, block_bytes=block_bytes
        )
        messages = Rate(limits.messages_per_s, limits.burst_messages + blocks)
        data = Rate(limits.bytes_per_s, limits.burst_bytes + blocks * block_bytes)
        self._clock = clock
        self._messages = Meters(messages, most_names=MAX_DEVICES)
        self._sent = Meters(data, most_names=MAX_DEVICES)
        self._asked = Meters(data, most_names=MAX_DEVICES)
        self._complaints = Complaints(clock, most_names=MAX_DEVICES)

    def check_message(self, device: str, size: int) -> None:
        """Take a message of ``size`` bytes into account.

        Raises:
            DecodeError: It is over a limit of its device.
        """
        now = self._clock()
        if not self._messages.take(device, 1, now=now):
            raise self._over(device, "messages")
        if not self._sent.take(device, size, now=now):
            raise self._over(device, "bytes sent")

    def check_need(self, device: str, size: int) -> None:
        """Take ``size`` bytes into account that a device asks for.

        Raises:
            DecodeError: They are over its limit.
        """
        if not self._asked.take(device, size, now=self._clock()):
            raise self._over(device, "bytes asked for")

    def _over(self, device: str, what: str) -> DecodeError:
        told = "what is over is dropped and counted"
        self._complaints.about(device, f"{device} is over its limit of {what}: {told}")
        return DecodeError(f"{device} is over its {what}", reason=Reason.OVER_LIMIT)
