"""The MQTT link: aiomqtt on paho-mqtt, MQTT 5 first, reconnecting for ever.

Nothing here relies on what a broker keeps: every connection starts clean, and
subscriptions are made again before ``Connected`` is reported. An MQTT 5 CONNECT
that is refused for its version, or not answered at all (amqtt), is followed by a
3.1.1 one at once; what worked first stays the first choice.

    async with MqttLink(LinkSettings("localhost", 1883, identity="ef-1")) as link:
        await link.subscribe("edgefed/1/home/round/+")
        async for event in link.events():
            ...
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from random import SystemRandom
from types import TracebackType
from typing import Final, Self

import aiomqtt

from wire_protocol.errors import ShutOutError, TransportError
from wire_protocol.link import (
    Connected,
    Disconnected,
    LinkEvent,
    LinkSettings,
    MqttVersion,
    Received,
    Traffic,
)
from wire_protocol.mqtt_wire import FAREWELL_S, VersionRefusedError, Wire

_RETRY_S: Final = 0.5
_RETRY_CAP_S: Final = 10.0
_SHUT_OUT_S: Final = 60.0
_STEADY_S: Final = 5.0
"""A connection that held so long was good; two links of one name lose theirs sooner."""
_SYSTEM_JITTER: Final = SystemRandom().random


def retry_ceiling_s(failures: int, *, shut_out: bool = False) -> float:
    """Return the longest wait after ``failures`` in a row; the wait is a random part.

    Who is shut out waits longer: the broker has answered, and only people can help.

    Full jitter (AWS Architecture Blog, "Exponential Backoff and Jitter"): a fleet
    that lost its broker together must not come back together.
    """
    if shut_out:
        return _SHUT_OUT_S
    return float(min(_RETRY_CAP_S, _RETRY_S * 2 ** min(failures, 16)))


class MqttLink:
    """The ``Link`` to a real broker; an asynchronous context manager.

    With ``fail_fast`` entering it makes the first connection and raises
    ``TransportError`` if that fails; without, entering returns at once and the link
    tries for ever. Leaving it publishes the will's message, then disconnects.
    ``jitter`` draws from [0, 1).
    """

    def __init__(
        self,
        settings: LinkSettings,
        *,
        fail_fast: bool = False,
        jitter: Callable[[], float] = _SYSTEM_JITTER,
    ) -> None:
        self._settings = settings
        self._fail_fast = fail_fast
        self._jitter = jitter
        self._filters: dict[str, int] = {}
        self._events: asyncio.Queue[LinkEvent | None] = asyncio.Queue()
        self._wire: Wire | None = None
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._proven: MqttVersion | None = None
        self._told: str | None = None
        self._past = Traffic()
        self._past_floods = 0
        self._present: Wire | None = None
        self._connections = settings.first_connection - 1
        self.oversize_dropped = 0
        """Messages larger than ``max_payload_bytes`` that were thrown away."""

    async def __aenter__(self) -> Self:
        wire = await self._connect() if self._fail_fast else None
        self._task = asyncio.create_task(self._keep_connected(wire))
        self._task.add_done_callback(lambda _: self._events.put_nowait(None))
        if self._fail_fast:
            await self._up.wait()  # so that the caller may publish at once
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        will = self._settings.will
        try:
            if will is not None and self._wire is not None:
                with contextlib.suppress(TransportError, TimeoutError):
                    async with asyncio.timeout(FAREWELL_S):
                        await self.publish(will.topic, will.payload, retain=will.retain)
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait({self._task})
            if self._present is not None:  # the task had no time to begin
                await self._present.close()
                self._retire(self._present)

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False
    ) -> None:
        """Send a message and wait for the broker's acknowledgement.

        Raises:
            TransportError: Not connected, or the connection ended meanwhile.
        """
        wire = self._wire
        if wire is None:
            raise TransportError(f"not connected to {self._address}")
        await wire.unless_lost(wire.publish(topic, payload, qos, retain))

    async def subscribe(self, topic_filter: str, *, qos: int = 1) -> None:
        """Subscribe now, if connected, and again after every reconnection.

        Raises:
            TransportError: The broker refused, or the connection ended meanwhile.
        """
        self._filters[topic_filter] = qos
        if self._wire is not None:
            await self._wire.subscribe_all({topic_filter: qos})

    async def unsubscribe(self, topic_filter: str) -> None:
        """Forget a subscription, here and at the broker."""
        self._filters.pop(topic_filter, None)
        if self._wire is not None:
            await self._wire.unless_lost(self._wire.unsubscribe(topic_filter))

    async def events(self) -> AsyncIterator[LinkEvent]:
        """Yield what happens, in order, until the link is closed; one reader."""
        while (event := await self._events.get()) is not None:
            yield event
        if self._task is not None and not self._task.cancelled():
            self._task.result()  # a defect in the link must not look like its end

    @property
    def traffic(self) -> Traffic:
        """Bytes sent and received so far."""
        return self._past + (self._present.traffic if self._present else Traffic())

    @property
    def _address(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    async def _keep_connected(self, wire: "Wire | None") -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            shut_out = False
            try:
                wire = wire or await self._connect()
                await self._serve(wire)
            except ShutOutError as error:
                self._report(str(error))
                shut_out = True
            except TransportError as error:
                self._report(error.problem)
            steady = wire is not None and loop.time() - began > _STEADY_S
            failures = 0 if steady else failures + 1
            wire = None
            ceiling_s = retry_ceiling_s(failures, shut_out=shut_out)
            await asyncio.sleep(self._jitter() * ceiling_s)

    def _report(self, reason: str) -> None:
        """Tell each reason once, not at every vain attempt."""
        if reason != self._told:
            self._told = reason
            self._events.put_nowait(Disconnected(reason))

    async def _connect(self) -> "Wire":
        """Return an open connection, of the first MQTT version the broker speaks."""
        self._connections += 1
        refused = TransportError(f"no MQTT version left to try on {self._address}")
        for version in self._versions():
            wire = Wire(self._settings, version, conn=self._connections)
            self._present = wire
            try:
                await wire.open()
            except VersionRefusedError as error:
                refused = error
            else:
                self._proven = self._proven or version
                return wire
            finally:
                if wire.sock is None:
                    self._retire(wire)
        raise refused

    def _versions(self) -> tuple[MqttVersion, ...]:
        if self._settings.protocol != "auto":
            return (self._settings.protocol,)
        return ("3.1.1", "5") if self._proven == "3.1.1" else ("5", "3.1.1")

    def _retire(self, wire: "Wire") -> None:
        if self._present is wire:
            self._past += wire.traffic
            self._past_floods += wire.flood_dropped
            self._present = None

    async def _serve(self, wire: "Wire") -> None:
        """Subscribe, report, and pass messages on until the connection ends."""
        try:
            held: dict[str, int] = {}
            while missing := dict(self._filters.items() - held.items()):
                await wire.subscribe_all(missing)
                held |= missing
            self._wire = wire
            self._up.set()
            self._told = None
            self._events.put_nowait(
                Connected(wire.conn, wire.version, wire.max_packet_bytes)
            )
            async for event in wire.received():
                self._receive(event)
        except aiomqtt.MqttError as error:
            raise TransportError(
                f"the connection to {self._address} ended: {error.__cause__ or error}"
            ) from None
        finally:
            self._wire = None
            await wire.close()
            self._retire(wire)

    @property
    def flood_dropped(self) -> int:
        """Messages that were thrown away since too many came at once."""
        return self._past_floods + (self._present.flood_dropped if self._present else 0)

    def _receive(self, event: Received) -> None:
        if len(event.payload) > self._settings.max_payload_bytes:
            self.oversize_dropped += 1
        else:
            self._events.put_nowait(event)
