"""The observer of a federation: one picture, folded from what everybody says."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from tools.demo.fleet_state import DeviceState, FleetState, seen
from wire_protocol.errors import DecodeError
from wire_protocol.link import Received
from wire_protocol.mqtt import MqttLink
from wire_protocol.topics import Topics

FINISHED: Final = "finished"
"""The server's phase once it merged every round it was asked for."""


class Observer:
    """Folds what the fleet says into one picture."""

    def __init__(
        self,
        link: MqttLink,
        topics: Topics,
        *,
        devices: Sequence[str],
        show: Callable[[FleetState], None],
        on_version: Callable[[int], None],
    ) -> None:
        self.fleet = FleetState(devices={name: DeviceState() for name in devices})
        self._link = link
        self._topics = topics
        self._show = show
        self._on_version = on_version
        self._changed = asyncio.Condition()

    async def watch(self) -> None:
        """Take in messages until cancelled."""
        async for event in self._link.events():
            if not isinstance(event, Received):
                continue
            try:
                levels = self._topics.levels(event.topic)
            except DecodeError:
                continue
            before = self.fleet.server.version
            self.fleet = seen(self.fleet, levels, event.payload)
            for version in range(before + 1, self.fleet.server.version + 1):
                self._on_version(version)
            self._show(self.fleet)
            async with self._changed:
                self._changed.notify_all()

    async def until(
        self, holds: Callable[[FleetState], bool], *, timeout_s: float | None = None
    ) -> bool:
        """Wait until ``holds`` of the fleet; False when the time is over before."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: holds(self.fleet))
        except TimeoutError:
            return False
        return True
