"""A connection to try a broker with: it tells what the link leaves out.

It is the agent's own connection, so what is measured is what an agent meets; on top
of that it keeps the reason codes of MQTT 5, and everything that arrives.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, Final

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from wire_protocol.errors import TransportError
from wire_protocol.link import LinkSettings, MqttVersion, Received
from wire_protocol.mqtt_wire import VersionRefusedError, Wire

ANSWER_S: Final = 3.0
"""How long an answer may take before it counts as none."""
REFUSED: Final = 128
"""Reason codes from here on are refusals (MQTT 5, 2.4)."""
SUFFIX: Final = "-doctor"
"""Makes our client id another than that of the agent or server."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the broker says of itself when it accepts us; only MQTT 5 tells."""

    max_packet_bytes: int | None = None
    max_qos: int = 2
    retains: bool = True


class Trial(Wire):
    """One connection."""

    def __init__(self, settings: LinkSettings, version: MqttVersion) -> None:
        super().__init__(settings, version, conn=1)
        self.limits = Limits()
        self.arrived: list[Received] = []
        self.ended = ""
        """Why the broker ended the connection, if it did and says so."""
        self._hung_up = False
        self._news = asyncio.Event()
        self._answers: dict[int, asyncio.Future[int]] = {}

    def _explained(self, error: aiomqtt.MqttError) -> TransportError:
        if not self._hung_up:
            return super()._explained(error)
        return VersionRefusedError(
            f"{self._settings.host}:{self._settings.port} hangs up on who speaks MQTT "
            f"{self.version}",
            remedy="read the broker's log (journalctl -u mosquitto); see that this "
            "certificate is of its fleet, not revoked and not expired",
        )

    async def tell(
        self, topic: str, payload: bytes, *, retain: bool = False
    ) -> int | None:
        """Publish with QoS 1; return the reason code, None: no answer came.

        With MQTT 3.1.1 the code of every answer is 0.

        Raises:
            TransportError: The connection has ended, or ends meanwhile.
        """
        # the answer cannot come earlier: it is read in this very thread
        sent = self._client.publish(topic, payload, 1, retain)
        if sent.rc != paho.MQTT_ERR_SUCCESS:
            raise TransportError(f"the connection has ended{self._because}")
        answer = self._answers[sent.mid] = self._loop.create_future()
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self.unless_lost(_result(answer))
        except TimeoutError:
            return None
        except TransportError as error:
            raise TransportError(f"{error.problem}{self._because}") from None
        finally:
            self._answers.pop(sent.mid, None)

    async def listen(self, *filters: str) -> tuple[int, ...]:
        """Subscribe with QoS 1; return the reason code of each filter.

        Raises:
            TransportError: No answer came, or the connection ended.
        """
        options: list[tuple[str, Any]] = [
            (one, SubscribeOptions(qos=1) if self.version == "5" else 1)
            for one in filters
        ]
        granted: list[int | ReasonCode] = list(
            await self.unless_lost(self.subscribe(options, timeout=ANSWER_S))
        )
        return tuple(one if isinstance(one, int) else one.value for one in granted)

    async def heard(
        self, topic: str, payload: bytes | None = None, *, within_s: float = ANSWER_S
    ) -> Received | None:
        """Return the first message on ``topic`` (with ``payload``), or None."""
        deadline = time.monotonic() + within_s
        while True:
            self._news.clear()
            for one in self.arrived:
                if one.topic == topic and payload in (None, one.payload):
                    return one
            left = deadline - time.monotonic()
            if left <= 0 or self.sock is None:
                return None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()

    @property
    def _because(self) -> str:
        return f" ({self.ended})" if self.ended else ""

    def _on_connect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        super()._on_connect(client, userdata, flags, reason_code, properties)
        self.limits = Limits(
            max_packet_bytes=self.max_packet_bytes,
            max_qos=int(getattr(properties, "MaximumQoS", 2)),
            retains=bool(getattr(properties, "RetainAvailable", 1)),
        )

    def _on_socket_close(
        self, client: paho.Client, userdata: object, sock: socket.socket
    ) -> None:
        super()._on_socket_close(client, userdata, sock)
        # paho may be in another thread; aiomqtt would go on waiting for an answer
        self._loop.call_soon_threadsafe(self._give_up)

    def _give_up(self) -> None:
        if not self._connected.done():
            self._hung_up = True
            self._connected.set_exception(aiomqtt.MqttError("the broker hung up"))
            self._connected.exception()  # whoever connects may have failed already

    def _on_publish(
        self,
        client: paho.Client,
        userdata: object,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        super()._on_publish(client, userdata, mid, reason_code, properties)
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(reason_code.value)

    def _on_message(
        self,
        client: paho.Client,
        userdata: object,
        message: paho.MQTTMessage,
    ) -> None:
        before = self._queue.qsize()
        super()._on_message(client, userdata, message)
        if self._queue.qsize() > before:
            event: Any = self._queue.get_nowait()  # a Received: see Wire
            self.arrived.append(event)
            self._news.set()

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        if reason_code.value >= REFUSED:
            self.ended = str(reason_code)
        self._news.set()


async def _result(answer: "asyncio.Future[int]") -> int:
    return await answer


@contextlib.asynccontextmanager
async def connected(settings: LinkSettings) -> AsyncIterator[Trial]:
    """Connect, with the newest version of MQTT that the broker speaks; then leave.

    Raises:
        TransportError: The broker does not answer, or refuses us.
        ConfigError: A certificate, key or password cannot be read.
    """
    trial = await _opened(settings)
    try:
        yield trial
    finally:
        await trial.close()


async def _opened(settings: LinkSettings) -> Trial:
    both: tuple[MqttVersion, ...] = ("5", "3.1.1")
    versions = both if settings.protocol == "auto" else (settings.protocol,)
    refused = TransportError("no version of MQTT is left to try")
    for version in versions:
        trial = Trial(settings, version)
        try:
            await trial.open()
        except VersionRefusedError as error:
            refused = error
        else:
            return trial
    raise refused


def as_doctor(settings: LinkSettings) -> LinkSettings:
    """Return ``settings`` under a client id of our own, without a last will."""
    return replace(settings, identity=settings.identity[:100] + SUFFIX, will=None)
