"""The link to the broker as the rest of the project sees it: events, settings, calls.

``wire_protocol/mqtt.py`` holds the real one; a test may bring its own ``Link``.
This module is pure.

>>> LinkSettings("localhost", 1883, identity="ef-kitchen").protocol
'auto'
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

from wire_protocol.errors import ConfigError

MqttVersion: TypeAlias = Literal["5", "3.1.1"]
MAX_PAYLOAD_BYTES: Final = 256 * 1024
"""Twice the largest block (128 KiB): nothing of ours comes near it."""
PACKET_OVERHEAD_BYTES: Final = 1024
"""Room for the fixed header, the topic and the properties around a payload."""
MAX_BACKLOG_BYTES: Final = 64 * 1024 * 1024
"""What may wait to be read; a flood beyond it is lost, as brokers lose messages too."""


@dataclass(frozen=True, slots=True)
class Will:
    """What is published for us when we vanish, and by us when we leave in order."""

    topic: str
    payload: bytes
    retain: bool = True


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What TLS needs, in PEM: whom we trust, and who we are; read at each connection.

    ``authority`` is whose certificates a broker may show. Without ``certificate`` and
    ``key`` the broker must know us by other means.
    """

    authority: Path
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """A name and the file with its password, for brokers that know no certificates."""

    username: str
    password_file: Path


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Where the broker is, who we are, and how patient the link is.

    ``identity`` is the MQTT client id; it must be stable and unique, or two links
    will push each other off the broker for ever. ``first_connection`` is the number of
    the first connection; whoever remembers it across restarts can tell stale wills.
    Without ``tls`` everything is sent in clear.
    """

    host: str
    port: int
    identity: str
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    will: Will | None = None
    first_connection: int = 1
    keepalive_s: int = 60
    connect_timeout_s: float = 5.0
    connack_timeout_s: float = 3.0
    ack_timeout_s: float = 30.0
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    max_backlog_bytes: int = MAX_BACKLOG_BYTES
    tls: TlsFiles | None = None
    login: Login | None = None

    def __post_init__(self) -> None:
        if not self.host or not 1 <= self.port <= 65535:
            raise ConfigError(
                f"no broker address: host {self.host!r}, port {self.port}",
                remedy="set [broker] host and a port from 1 to 65535",
            )
        if not 1 <= len(self.identity.encode()) <= 128:
            raise ConfigError(
                f"a client id has 1 to 128 bytes, not {len(self.identity.encode())}"
            )
        if self.protocol not in ("auto", "5", "3.1.1"):
            raise ConfigError(
                f"MQTT version {self.protocol!r} is unknown",
                remedy='use "auto", "5" or "3.1.1"',
            )


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted connection number ``conn``; every subscription holds.

    ``max_packet_bytes`` is the largest packet it takes, where it says so (MQTT 5).
    """

    conn: int
    protocol: MqttVersion
    max_packet_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended, or cannot be made, for a reason not yet told."""

    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """A message; ``retained`` when the broker kept it from before we subscribed.

    ``conn`` is set on a will (MQTT 5): the number of the connection that ended.
    """

    topic: str
    payload: bytes
    retained: bool
    conn: int | None = None


LinkEvent: TypeAlias = Connected | Disconnected | Received


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes in TCP streams, over all connections of a link, without retransmissions.

    Counted by the kernel; both stay 0 where it does not tell (not on Linux).
    """

    bytes_sent: int = 0
    bytes_received: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.bytes_sent + other.bytes_sent,
            self.bytes_received + other.bytes_received,
        )


class Link(Protocol):
    """A connection to the broker that comes back by itself."""

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False
    ) -> None:
        """Send a message and wait for the broker's acknowledgement.

        Raises:
            TransportError: Not connected, or the connection ended before the
                acknowledgement came; the message may have been delivered or not.
        """

    async def subscribe(self, topic_filter: str, *, qos: int = 1) -> None:
        """Subscribe now, if connected, and again after every reconnection.

        Raises:
            TransportError: The broker refused, or the connection ended meanwhile
                (the subscription is then made on reconnection).
        """

    async def unsubscribe(self, topic_filter: str) -> None:
        """Forget a subscription, here and at the broker."""

    def events(self) -> AsyncIterator[LinkEvent]:
        """Yield what happens, in order, until the link is closed; one reader."""

    @property
    def traffic(self) -> Traffic:
        """Bytes sent and received so far."""
