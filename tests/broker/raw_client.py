"""An MQTT 5 client that may do what no client should, and sees every answer."""

import socket
import ssl
import struct
from dataclasses import dataclass, field
from typing import Self

TIMEOUT_S = 10.0


class ClosedError(Exception):
    """The broker ended the connection."""


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    retained: bool = False


@dataclass(frozen=True)
class LastWord:
    topic: str
    payload: bytes


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack(">H", len(raw)) + raw


def varint(number: int) -> bytes:
    out = bytearray()
    while True:
        number, digit = divmod(number, 128)
        out.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(out)


def packet(head: int, body: bytes) -> bytes:
    return bytes([head]) + varint(len(body)) + body


@dataclass
class RawClient:
    """One connection; ``context`` None is plain TCP, ``session`` is TLS resumed."""

    port: int
    context: ssl.SSLContext | None
    session: ssl.SSLSession | None = None
    inbox: list[Message] = field(default_factory=list)
    _next_id: int = 0

    def __post_init__(self) -> None:
        raw = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)
        raw.settimeout(TIMEOUT_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock = (
                raw
                if self.context is None
                else self.context.wrap_socket(
                    raw, server_hostname="127.0.0.1", session=self.session
                )
            )
        except BaseException:
            raw.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def connect(
        self,
        client_id: str,
        *,
        username: str | None = None,
        password: str | None = None,
        will: LastWord | None = None,
    ) -> int:
        """Return the reason code of the CONNACK; 0 is success."""
        flags = 0x02
        tail = text(client_id)
        if will is not None:
            flags |= 0x04 | 0x08
            tail += b"\0" + text(will.topic)
            tail += struct.pack(">H", len(will.payload)) + will.payload
        if username is not None:
            flags |= 0x80
            tail += text(username)
        if password is not None:
            flags |= 0x40
            tail += text(password)
        head = text("MQTT") + bytes([5, flags]) + struct.pack(">H", 60) + b"\0"
        self.send(packet(0x10, head + tail))
        kind, body = self._read()
        assert kind == 0x20, hex(kind)
        return body[1]

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Publish with QoS 1; return the reason it was refused for, or 0."""
        self._next_id += 1
        body = text(topic) + struct.pack(">H", self._next_id) + b"\0" + payload
        self.send(packet(0x32 | retain, body))
        answer = self._answer(0x40)
        return answer[2] if len(answer) > 2 and answer[2] >= 0x80 else 0

    def subscribe(self, topic_filter: str) -> int:
        self._next_id += 1
        body = struct.pack(">H", self._next_id) + b"\0" + text(topic_filter) + b"\x01"
        self.send(packet(0x82, body))
        return self._answer(0x90)[-1]

    def unsubscribe(self, topic_filter: str) -> int:
        self._next_id += 1
        body = struct.pack(">H", self._next_id) + b"\0" + text(topic_filter)
        self.send(packet(0xA2, body))
        return self._answer(0xB0)[-1]

    def ping(self) -> None:
        self.send(packet(0xC0, b""))
        self._answer(0xD0)

    def until(self, payload: bytes) -> list[Message]:
        """Return all that came until a message with ``payload``, it included."""
        came: list[Message] = []
        while True:
            while self.inbox:
                came.append(self.inbox.pop(0))
                if came[-1].payload == payload:
                    return came
            self._handle(*self._read())

    def wait_for_the_end(self) -> None:
        """Read until the broker closes the connection."""
        try:
            while True:
                self._handle(*self._read())
        except ClosedError:
            return

    def send(self, raw: bytes) -> None:
        try:
            self.sock.sendall(raw)
        except (ConnectionError, ssl.SSLError) as error:
            raise ClosedError(str(error)) from error

    def _answer(self, kind: int) -> bytes:
        while True:
            came, body = self._read()
            if came & 0xF0 == kind:
                return body
            self._handle(came, body)

    def _handle(self, kind: int, body: bytes) -> None:
        if kind & 0xF0 == 0xE0:
            raise ClosedError(f"disconnected, reason {body[:1].hex() or '00'}")
        if kind & 0xF0 != 0x30:
            return
        length = struct.unpack(">H", body[:2])[0]
        topic = body[2 : 2 + length].decode()
        rest = body[2 + length :]
        if kind & 0x06:
            self.send(packet(0x40, rest[:2]))
            rest = rest[2:]
        properties = rest[0]
        payload = rest[1 + properties :]
        self.inbox.append(Message(topic, payload, bool(kind & 1)))

    def _read(self) -> tuple[int, bytes]:
        kind = self._bytes(1)[0]
        length = shift = 0
        while True:
            digit = self._bytes(1)[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return kind, self._bytes(length)

    def _bytes(self, count: int) -> bytes:
        raw = b""
        while len(raw) < count:
            try:
                more = self.sock.recv(count - len(raw))
            except TimeoutError:
                raise
            except (ConnectionError, ssl.SSLError) as error:
                raise ClosedError(str(error)) from error
            if not more:
                raise ClosedError("the connection ended")
            raw += more
        return raw
