"""Members and claims: what a fleet remembers of who it vouched for, as JSON files.

This module is pure; ``fleet_folder`` reads and writes the files.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Final, Self

from wire_protocol.errors import DecodeError
from wire_protocol.fields import Fields, json_object

MAX_EARLIER: Final = 8
"""Former certificates that are remembered; at most one or two still hold."""


@dataclass(frozen=True, slots=True)
class Member:
    """A device that the fleet issued a certificate to.

    Attributes:
        device: Its id: in topics, and the name in its certificate.
        label: What people call it; they may change it.
        public: Its key, 64 hex digits.
        serial: Of its newest certificate, in hex.
        not_after: When that ends, seconds since 1970.
        joined: When it became a member, seconds since 1970.
        claim: By which claim.
        hardware: What it said it is.
        revoked: When it was locked out; 0 is never.
        why: Said by who locked it out.
        earlier: Serial numbers of its former certificates, newest last.
    """

    device: str
    label: str
    public: str
    serial: str
    not_after: float
    joined: float
    claim: str
    hardware: str
    revoked: float = 0.0
    why: str = ""
    earlier: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Parse, or raise ``DecodeError``; nothing else, whatever ``raw`` holds."""
        fields = Fields(json_object(raw, what="a member"), owner="member")
        return cls(
            device=fields.text("device", longest=32),
            label=fields.text("label", longest=64),
            public=fields.digest("public"),
            serial=_serial(fields.text("serial", longest=40)),
            not_after=fields.real("not_after", least=0.0),
            joined=fields.real("joined", least=0.0),
            claim=fields.text("claim", longest=48),
            hardware=fields.text("hardware", longest=128),
            revoked=fields.real("revoked", least=0.0),
            why=fields.text("why"),
            earlier=tuple(
                _serial(text) for text in fields.texts("earlier", most=MAX_EARLIER)
            ),
        )

    def to_json(self) -> bytes:
        """Return the file's content."""
        return _lines(asdict(self))

    @property
    def serials(self) -> tuple[str, ...]:
        """Serial numbers of all its certificates that may still hold."""
        return (*self.earlier, self.serial)

    def renewed(self, serial: str, *, not_after: float) -> "Member":
        """Return the member with another certificate; the former holds until its end.

        The device may never hear of the new one.
        """
        return replace(
            self,
            serial=serial,
            not_after=not_after,
            earlier=self.serials[-MAX_EARLIER:],
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to join once.

    Attributes:
        claim: Its name: in topics and in its certificate.
        public: Its key, 64 hex digits.
        serial: Of its certificate, in hex.
        until: When it ends, seconds since 1970.
        device: The id that whoever uses it gets; empty: of its choice.
        taken_by: The key that used it, 64 hex digits; empty: nobody yet.
        spent: Whether its device was seen as a member, so that it need open nothing.
    """

    claim: str
    public: str
    serial: str
    until: float
    device: str = ""
    taken_by: str = ""
    spent: bool = False

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Parse, or raise ``DecodeError``; nothing else, whatever ``raw`` holds."""
        fields = Fields(json_object(raw, what="a claim"), owner="claim")
        taken = fields.text("taken_by", longest=64)
        return cls(
            claim=fields.text("claim", longest=48),
            public=fields.digest("public"),
            serial=_serial(fields.text("serial", longest=40)),
            until=fields.real("until", least=0.0),
            device=fields.text("device", longest=32),
            taken_by=fields.digest("taken_by") if taken else "",
            spent=fields.flag("spent"),
        )

    def to_json(self) -> bytes:
        """Return the file's content."""
        return _lines(asdict(self))


def _serial(text: str) -> str:
    if not 0 < len(text) <= 40 or not set(text) <= set("0123456789abcdef"):
        raise DecodeError(f"{text!r} is no serial number in hex")
    return text


def _lines(plain: dict[str, object]) -> bytes:
    return (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode()
