"""MQTT packets in a byte stream, as far as a proxy must know them. This module is pure.

MQTT 3.1.1 and 5 agree on everything read here: the fixed header (3.1.1 and 5, section
2.1), topic and identifier of PUBLISH (3.3.2), and a PUBACK of two bytes (3.4).

>>> splitter = PacketSplitter()
>>> splitter.feed(publish("a", b"hi", packet_id=7)[:4])
[]
>>> (packet,) = splitter.feed(publish("a", b"hi", packet_id=7)[4:])
>>> packet.kind == PUBLISH, packet.qos, packet.packet_id
(True, 1, 7)
"""

from dataclasses import dataclass
from typing import Final

PUBLISH: Final = 3
PUBACK: Final = 4
MAX_HELD_BYTES: Final = 1 << 20
"""A longer packet is passed on in pieces, as bytes that nobody looks into."""
_DUP: Final = 0x08
_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Packet:
    """A whole packet: ``head`` bytes of fixed header, then the rest."""

    raw: bytes
    head: int

    @property
    def kind(self) -> int:
        """Type of control packet."""
        return self.raw[0] >> 4

    @property
    def qos(self) -> int:
        """Quality of service of a PUBLISH."""
        return self.raw[0] >> 1 & 3

    @property
    def packet_id(self) -> int | None:
        """Identifier of a PUBACK, or of a PUBLISH that has one; else None."""
        at = self.head
        if self.kind == PUBLISH and self.qos:
            at += 2 + int.from_bytes(self.raw[at : at + 2])
        elif self.kind != PUBACK:
            return None
        found = self.raw[at : at + 2]
        return int.from_bytes(found) if len(found) == 2 else None

    def again(self) -> "Packet":
        """Return the PUBLISH as it is sent a second time: with DUP, if acknowledged."""
        if not self.qos:
            return self
        return Packet(bytes([self.raw[0] | _DUP]) + self.raw[1:], self.head)


class PacketSplitter:
    """Cuts one direction of a connection into packets, in bounded memory.

    What is no MQTT, or too long to hold, comes out as plain bytes.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._passing = 0
        self._opaque = False

    def feed(self, data: bytes) -> list[Packet | bytes]:
        """Take in ``data``; return what it completed, in order."""
        self._held += data
        found: list[Packet | bytes] = []
        while self._held:
            if self._opaque or self._passing:
                found.append(self._passage())
                continue
            size = _size(self._held)
            if size is None:
                if len(self._held) <= _LENGTH_BYTES:
                    break
                self._opaque = True  # a length has four bytes at most
                continue
            head, whole = size
            if whole > MAX_HELD_BYTES:
                self._passing = whole
                continue
            if len(self._held) < whole:
                break
            found.append(Packet(bytes(self._held[:whole]), head))
            del self._held[:whole]
        return found

    def _passage(self) -> bytes:
        count = len(self._held)
        if self._passing:
            count = min(count, self._passing)
            self._passing -= count
        passed = bytes(self._held[:count])
        del self._held[:count]
        return passed


def publish(topic: str, payload: bytes, *, packet_id: int | None = None) -> bytes:
    """Return a PUBLISH of MQTT 3.1.1: QoS 1 with ``packet_id``, else QoS 0."""
    name = topic.encode()
    rest = len(name).to_bytes(2) + name
    if packet_id is not None:
        rest += packet_id.to_bytes(2)
    rest += payload
    first = PUBLISH << 4 | (0 if packet_id is None else 2)
    return bytes([first]) + varint(len(rest)) + rest


def puback(packet_id: int) -> Packet:
    """Return the acknowledgement of a PUBLISH, for either version."""
    return Packet(bytes([PUBACK << 4, 2]) + packet_id.to_bytes(2), 2)


def _size(held: bytearray) -> tuple[int, int] | None:
    """Return the fixed header's size and the packet's, if the header is whole."""
    length = 0
    for place, byte in enumerate(held[1 : 1 + _LENGTH_BYTES]):
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            head = 2 + place
            return head, head + length
    return None


def varint(count: int) -> bytes:
    """Return ``count`` in groups of seven bits, as MQTT and protobuf write it."""
    encoded = bytearray()
    while count > 0x7F:
        encoded.append(count & 0x7F | 0x80)
        count >>= 7
    encoded.append(count)
    return bytes(encoded)
