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
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from random import SystemRandom
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from wire_protocol.errors import TransportError
from wire_protocol.link import (
    PACKET_OVERHEAD_BYTES,
    Connected,
    Disconnected,
    LinkEvent,
    LinkSettings,
    MqttVersion,
    Received,
    Traffic,
)
from wire_protocol.traffic import socket_traffic

_VERSIONS: Final[dict[MqttVersion, aiomqtt.ProtocolVersion]] = {
    "5": aiomqtt.ProtocolVersion.V5,
    "3.1.1": aiomqtt.ProtocolVersion.V311,
}
_UNSUPPORTED_VERSION: Final = 132  # MQTT 5, 3.2.2.2; paho maps 3.1.1's code 1 to it
_FIRST_FAILURE_CODE: Final = 128
_NO_DELAY: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
_RETRY_S: Final = 0.5
_RETRY_CAP_S: Final = 10.0
_STEADY_S: Final = 30.0
_FAREWELL_S: Final = 2.0
_SYSTEM_JITTER: Final = SystemRandom().random

T = TypeVar("T")


def retry_ceiling_s(failures: int) -> float:
    """Return the longest wait after ``failures`` in a row; the wait is a random part.

    Full jitter (AWS Architecture Blog, "Exponential Backoff and Jitter"): a fleet
    that lost its broker together must not come back together.
    """
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
        self._wire: _Wire | None = None
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._proven: MqttVersion | None = None
        self._told: str | None = None
        self._past = Traffic()
        self._present: _Wire | None = None
        self._connections = 0
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
                    async with asyncio.timeout(_FAREWELL_S):
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

    async def _keep_connected(self, wire: "_Wire | None") -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            try:
                wire = wire or await self._connect()
                await self._serve(wire)
            except TransportError as error:
                self._report(error.problem)
            steady = wire is not None and loop.time() - began > _STEADY_S
            failures = 0 if steady else failures + 1
            wire = None
            await asyncio.sleep(self._jitter() * retry_ceiling_s(failures))

    def _report(self, reason: str) -> None:
        """Tell each reason once, not at every vain attempt."""
        if reason != self._told:
            self._told = reason
            self._events.put_nowait(Disconnected(reason))

    async def _connect(self) -> "_Wire":
        """Return an open connection, of the first MQTT version the broker speaks."""
        refused = TransportError(f"no MQTT version left to try on {self._address}")
        for version in self._versions():
            wire = _Wire(self._settings, version)
            self._present = wire
            try:
                await wire.open()
            except _VersionRefusedError as error:
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

    def _retire(self, wire: "_Wire") -> None:
        if self._present is wire:
            self._past += wire.traffic
            self._present = None

    async def _serve(self, wire: "_Wire") -> None:
        """Subscribe, report, and pass messages on until the connection ends."""
        try:
            held: dict[str, int] = {}
            while missing := dict(self._filters.items() - held.items()):
                await wire.subscribe_all(missing)
                held |= missing
            self._wire = wire
            self._up.set()
            self._told = None
            self._connections += 1
            self._events.put_nowait(Connected(self._connections, wire.version))
            async for message in wire.messages:
                self._receive(message)
        except aiomqtt.MqttError as error:
            raise TransportError(
                f"the connection to {self._address} ended: {error.__cause__ or error}"
            ) from None
        finally:
            self._wire = None
            await wire.close()
            self._retire(wire)

    def _receive(self, message: aiomqtt.Message) -> None:
        payload = message.payload
        assert isinstance(payload, bytes)
        if len(payload) > self._settings.max_payload_bytes:
            self.oversize_dropped += 1
            return
        self._events.put_nowait(
            Received(message.topic.value, payload, retained=bool(message.retain))
        )


class _VersionRefusedError(TransportError):
    """Somebody listens, but does not speak this version of MQTT."""


class _Wire(aiomqtt.Client):
    """One connection, from CONNECT to the closing of its socket.

    aiomqtt gives no access to the socket, so this overrides the two hooks in which
    paho announces it: there its bytes are read off and its end is noticed.
    """

    def __init__(self, settings: LinkSettings, version: MqttVersion) -> None:
        super().__init__(
            settings.host,
            settings.port,
            identifier=settings.identity,
            protocol=_VERSIONS[version],
            will=_last_will(settings),
            # Never resume a session; each version has its own word for that.
            clean_session=None if version == "5" else True,
            clean_start=True if version == "5" else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=_connect_properties(settings) if version == "5" else None,
            keepalive=settings.keepalive_s,
            timeout=settings.connack_timeout_s,
            socket_options=_NO_DELAY,
        )
        self.version = version
        self._settings = settings
        self.sock: socket.socket | None = None
        self._reached = False
        self._final = Traffic()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._client.connect_timeout = settings.connect_timeout_s
        self.pending_calls_threshold = 1_000_000  # many at once are normal for us

    @property
    def traffic(self) -> Traffic:
        """Bytes of this connection so far."""
        return self._final if self.sock is None else socket_traffic(self.sock)

    async def open(self) -> None:
        """Connect and wait for CONNACK, or raise and leave no socket behind."""
        entering = asyncio.ensure_future(self.__aenter__())
        try:
            await asyncio.shield(entering)
        except asyncio.CancelledError:
            # paho connects in an executor thread, which cannot be cancelled.
            await asyncio.wait({entering})
            if not entering.cancelled():
                entering.exception()
            await self.close()
            raise
        except aiomqtt.MqttError as error:
            await self.close()
            raise self._explained(error) from None
        self.timeout = self._settings.ack_timeout_s

    async def close(self) -> None:
        """Send DISCONNECT if that is still possible; leave no socket behind."""
        if self.sock is not None:
            self._client.disconnect()  # paho closes the socket once it is written
            await asyncio.wait({self._closed}, timeout=_FAREWELL_S)
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)  # wakes paho, which closes it
            await asyncio.wait({self._closed}, timeout=_FAREWELL_S)
        if self._disconnected.done() and not self._disconnected.cancelled():
            self._disconnected.exception()  # has been seen; asyncio need not log it

    async def subscribe_all(self, filters: dict[str, int]) -> None:
        """Subscribe to every filter, with its quality of service, in one packet."""
        granted = await self.unless_lost(
            self.subscribe(
                [(name, SubscribeOptions(qos=qos)) for name, qos in filters.items()]
                if self.version == "5"
                else list(filters.items())
            )
        )
        reasons: list[int | ReasonCode] = list(granted)
        for name, reason in zip(filters, reasons, strict=True):
            code = reason if isinstance(reason, int) else reason.value
            if code >= _FIRST_FAILURE_CODE:
                raise TransportError(
                    f"the broker refused the subscription to {name} (code {code})",
                    remedy="check the broker's access rules for this device",
                )

    async def unless_lost(self, call: Coroutine[Any, Any, T]) -> T:
        """Await ``call``, but fail as soon as the connection ends."""
        task: asyncio.Future[T] = asyncio.ensure_future(call)
        try:
            either: set[asyncio.Future[Any]] = {task, self._closed}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        except aiomqtt.MqttError as error:
            raise TransportError(f"the broker did not acknowledge: {error}") from None
        finally:
            task.cancel()
        raise TransportError("the connection ended before the acknowledgement")

    def _explained(self, error: aiomqtt.MqttError) -> TransportError:
        where = f"{self._settings.host}:{self._settings.port}"
        if not self._reached:
            return TransportError(
                f"no MQTT broker answers on {where} ({error})",
                remedy="start one there, or correct [broker] host and port",
            )
        code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
        if isinstance(code, ReasonCode) and code.value != _UNSUPPORTED_VERSION:
            return TransportError(f"the broker on {where} refused us: {code}")
        return _VersionRefusedError(
            f"{where} accepts connections but does not answer MQTT {self.version} "
            f"within {self._settings.connack_timeout_s:g} s",
            remedy="check that an MQTT broker, without TLS, listens there",
        )

    def _on_socket_open(
        self, client: paho.Client, userdata: object, sock: socket.socket
    ) -> None:
        self.sock = sock
        self._reached = True
        super()._on_socket_open(client, userdata, sock)

    def _on_socket_close(
        self, client: paho.Client, userdata: object, sock: socket.socket
    ) -> None:
        self._final = socket_traffic(sock)
        self.sock = None
        super()._on_socket_close(client, userdata, sock)
        if not self._closed.done():
            self._closed.set_result(None)


def _last_will(settings: LinkSettings) -> aiomqtt.Will | None:
    will = settings.will
    if will is None:
        return None
    return aiomqtt.Will(will.topic, will.payload, 1, will.retain)


def _connect_properties(settings: LinkSettings) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = settings.max_payload_bytes + PACKET_OVERHEAD_BYTES
    return properties
