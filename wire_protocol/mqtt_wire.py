"""One connection to the broker, on aiomqtt and paho-mqtt: from CONNECT to its end."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final, TypeVar, cast

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from wire_protocol.errors import ShutOutError, TransportError
from wire_protocol.link import (
    PACKET_OVERHEAD_BYTES,
    LinkSettings,
    MqttVersion,
    Received,
    Traffic,
)
from wire_protocol.tls import (
    AttentiveSocket,
    client_context,
    password,
    tls_problem,
)
from wire_protocol.traffic import socket_traffic

FAREWELL_S: Final = 2.0
_VERSIONS: Final[dict[MqttVersion, aiomqtt.ProtocolVersion]] = {
    "5": aiomqtt.ProtocolVersion.V5,
    "3.1.1": aiomqtt.ProtocolVersion.V311,
}
_UNSUPPORTED_VERSION: Final = 132  # MQTT 5, 3.2.2.2; paho maps 3.1.1's code 1 to it
_FIRST_FAILURE_CODE: Final = 128
# MQTT 5, 3.2.2.2: client id not valid, bad user name or password, not authorized,
# banned, bad authentication method; paho maps those of 3.1.1 to them
_SHUT_OUT_CODES: Final = (133, 134, 135, 138, 140)
_NO_DELAY: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
_SILENT: Final = logging.getLogger("edgefed.mqtt")
_SILENT.setLevel(logging.CRITICAL)  # how a connection ended is told once, and by us
_CONN: Final = "conn"
"""The user property of a will that tells which connection ended."""

T = TypeVar("T")


class VersionRefusedError(TransportError):
    """Somebody listens, but does not speak this version of MQTT."""


class Wire(aiomqtt.Client):
    """One connection, from CONNECT to the closing of its socket.

    aiomqtt gives no access to the socket, so this overrides the two hooks in which
    paho announces it: there its bytes are read off and its end is noticed.
    """

    def __init__(
        self, settings: LinkSettings, version: MqttVersion, *, conn: int
    ) -> None:
        super().__init__(
            settings.host,
            settings.port,
            identifier=settings.identity,
            protocol=_VERSIONS[version],
            will=_last_will(settings, version, conn),
            # Never resume a session; each version has its own word for that.
            clean_session=None if version == "5" else True,
            clean_start=True if version == "5" else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=_connect_properties(settings) if version == "5" else None,
            keepalive=settings.keepalive_s,
            timeout=settings.connack_timeout_s,
            socket_options=_NO_DELAY,
            tls_context=client_context(settings.tls) if settings.tls else None,
            username=settings.login.username if settings.login else None,
            password=password(settings.login) if settings.login else None,
            logger=_SILENT,
        )
        self.version = version
        self.conn = conn
        self.max_packet_bytes: int | None = None
        self.flood_dropped = 0
        """Messages that came faster than they were read, and were thrown away."""
        self._backlog_bytes = 0
        self._settings = settings
        self.sock: socket.socket | None = None
        self._alert: ssl.SSLError | None = None
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
            await asyncio.wait({self._closed}, timeout=FAREWELL_S)
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)  # wakes paho, which closes it
            await asyncio.wait({self._closed}, timeout=FAREWELL_S)
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

    async def received(self) -> AsyncIterator[Received]:
        """Yield messages in order until the connection ends, then raise."""
        async for message in self.messages:
            event = cast("Received", message)  # it is what we put there
            self._backlog_bytes -= _held_bytes(event)
            yield event

    def _explained(self, error: aiomqtt.MqttError) -> TransportError:
        where = f"{self._settings.host}:{self._settings.port}"
        problem = tls_problem(self._alert or error) if self._settings.tls else None
        if problem is not None:
            return ShutOutError(f"{where}: {problem[0]}", remedy=problem[1])
        if not self._reached:
            return TransportError(
                f"no MQTT broker answers on {where} ({error})",
                remedy="start one there, or correct [broker] host and port",
            )
        code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
        if isinstance(code, ReasonCode) and code.value != _UNSUPPORTED_VERSION:
            shut_out = code.value in _SHUT_OUT_CODES
            kind = ShutOutError if shut_out else TransportError
            return kind(f"the broker on {where} refused us: {code}")
        return VersionRefusedError(
            f"{where} accepts connections but does not answer MQTT {self.version} "
            f"within {self._settings.connack_timeout_s:g} s",
            remedy="check that an MQTT broker with TLS listens there, and that this "
            "certificate is not revoked"
            if self._settings.tls
            else "check that an MQTT broker, without TLS, listens there",
        )

    def _on_connect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        limit = getattr(properties, "MaximumPacketSize", None)
        self.max_packet_bytes = limit if isinstance(limit, int) else None
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_message(
        self,
        client: paho.Client,  # noqa: ARG002 - as paho calls it
        userdata: object,  # noqa: ARG002
        message: paho.MQTTMessage,
    ) -> None:
        # aiomqtt reads the socket faster than it passes messages on, and its own kind
        # of message takes 5 kB
        event = _received(message)
        held = _held_bytes(event)
        if self._backlog_bytes + held > self._settings.max_backlog_bytes:
            self.flood_dropped += 1
            return
        self._backlog_bytes += held
        self._queue.put_nowait(cast("aiomqtt.Message", event))

    def _on_socket_open(
        self, client: paho.Client, userdata: object, sock: socket.socket
    ) -> None:
        self.sock = sock
        self._reached = True
        super()._on_socket_open(client, userdata, sock)

    def _on_socket_register_write(
        self, client: paho.Client, userdata: object, sock: socket.socket
    ) -> None:
        # As aiomqtt does, which forgets that a connection may end in between: this is
        # called in the thread that connects, what it asks for is done in the loop.
        del userdata

        def write() -> None:
            try:
                client.loop_write()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the end
                if not self._disconnected.done():
                    self._disconnected.set_exception(error)

        def watch() -> None:
            if sock.fileno() >= 0:
                self._loop.add_writer(sock.fileno(), write)

        self._loop.call_soon_threadsafe(watch)

    def _on_socket_close(
        self, client: paho.Client, userdata: object, sock: socket.socket
    ) -> None:
        self._final = socket_traffic(sock)
        self.sock = None
        if isinstance(sock, AttentiveSocket) and sock.alert is not None:
            self._alert = sock.alert
            if not self._connected.done():  # waiting for CONNACK is in vain
                self._connected.set_exception(aiomqtt.MqttError("TLS has ended"))
        super()._on_socket_close(client, userdata, sock)
        if not self._closed.done():
            self._closed.set_result(None)


def _held_bytes(event: Received) -> int:
    """Return about how much memory a message takes."""
    return len(event.payload) + PACKET_OVERHEAD_BYTES


def _received(message: paho.MQTTMessage) -> Received:
    """Return ``message`` as the rest of the project sees it."""
    given = getattr(message.properties, "UserProperty", ())
    conns = [value for key, value in given if key == _CONN and value.isdecimal()]
    return Received(
        message.topic,
        bytes(message.payload),
        retained=bool(message.retain),
        conn=int(conns[0][:16]) if conns else None,
    )


def _last_will(
    settings: LinkSettings, version: MqttVersion, conn: int
) -> aiomqtt.Will | None:
    will = settings.will
    if will is None:
        return None
    properties = None
    if version == "5":
        properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
        properties.UserProperty = (_CONN, str(conn))
    return aiomqtt.Will(will.topic, will.payload, 1, will.retain, properties)


def _connect_properties(settings: LinkSettings) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = settings.max_payload_bytes + PACKET_OVERHEAD_BYTES
    return properties
