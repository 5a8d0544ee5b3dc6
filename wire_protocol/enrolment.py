"""Enrolment: how a device that has only a token becomes a member of a fleet.

``edgefed devices join`` makes a *claim*: a key and a certificate that open nothing but
``enroll/<claim>``, for a while, once. The token carries them to the device, with the
fleet's certificate authority and signing key. The device makes a key of its own and
sends a request, sealed by the claim; the answer is sealed by the fleet. The order of
things is in docs/protocol.md. This module is pure.
"""

import base64
import binascii
import struct
from dataclasses import dataclass, field
from typing import ClassVar, Final, Self

from wire_protocol.errors import DecodeError, Reason
from wire_protocol.fields import Fields

MAX_REQUEST_BYTES: Final = 4096
"""A certificate request of ours has about 170 bytes."""
MAX_CERTIFICATE_BYTES: Final = 4096
TOKEN_PREFIX: Final = "efd1:"  # noqa: S105 - the public part
MAX_TOKEN_CHARACTERS: Final = 16_384
_KEY_BYTES: Final = 32
_LENGTH: Final = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a token says in clear; its body has the secret, see ``TokenParts``.

    Attributes:
        host: Of the broker.
        port: Of the broker.
        fleet: Which one is joined.
        claim: Its name on the wire and in its certificate.
        device: The id the device gets; empty: it may choose.
    """

    kind: ClassVar[str] = "join_token"
    host: str
    port: int
    fleet: str
    claim: str
    device: str = ""

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        return cls(
            host=fields.text("host"),
            port=fields.whole("port", least=1, most=65_535),
            fleet=fields.text("fleet", longest=32),
            claim=fields.text("claim", longest=48),
            device=fields.text("device", longest=32),
        )


@dataclass(frozen=True, slots=True)
class TokenParts:
    """The body of a token: ``seed`` is the claim's private key and a secret.

    ``fleet_key`` is the key the fleet signs with; certificates are DER.
    """

    seed: bytes = field(repr=False)
    fleet_key: bytes
    authority: bytes
    certificate: bytes

    def to_bytes(self) -> bytes:
        """Return the body."""
        return b"".join(
            (
                self.seed,
                self.fleet_key,
                _LENGTH.pack(len(self.authority)),
                self.authority,
                self.certificate,
            )
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse, or raise ``DecodeError``; nothing else, whatever ``raw`` holds."""
        start = 2 * _KEY_BYTES + _LENGTH.size
        if len(raw) < start:
            raise DecodeError("the token is cut off")
        (length,) = _LENGTH.unpack_from(raw, 2 * _KEY_BYTES)
        if not 0 < length < len(raw) - start:
            raise DecodeError("the token is cut off, or no token")
        return cls(
            seed=raw[:_KEY_BYTES],
            fleet_key=raw[_KEY_BYTES : 2 * _KEY_BYTES],
            authority=raw[start : start + length],
            certificate=raw[start + length :],
        )


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """A device asks for a certificate; the body is its request (PKCS #10, DER).

    ``device`` is the id it wants, ``hardware`` what it is, for people.
    """

    kind: ClassVar[str] = "enrol_request"
    device: str
    hardware: str

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        return cls(
            fields.text("device", longest=32), fields.text("hardware", longest=128)
        )


@dataclass(frozen=True, slots=True)
class EnrolGrant:
    """The device is a member; the body is its certificate (DER)."""

    kind: ClassVar[str] = "enrol_grant"
    device: str

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        return cls(fields.text("device", longest=32))


@dataclass(frozen=True, slots=True)
class EnrolRefusal:
    """The device does not become a member, and why."""

    kind: ClassVar[str] = "enrol_refusal"
    device: str
    reason: Reason

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        return cls(fields.text("device", longest=32), fields.reason())


@dataclass(frozen=True, slots=True)
class RenewalCall:
    """The fleet calls on a device to send its certificate request again.

    ``seconds_left`` is how long its certificate still holds, by the server's clock.
    """

    kind: ClassVar[str] = "renewal_call"
    seconds_left: int

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read from a header."""
        return cls(fields.whole("seconds_left"))


def token_text(frame: bytes) -> str:
    """Return the frame of a token as one line to copy."""
    return TOKEN_PREFIX + base64.urlsafe_b64encode(frame).decode().rstrip("=")


def token_frame(text: str) -> bytes:
    """Return the frame in a token, white space around and within it aside.

    Raises:
        DecodeError: It is no token, or a part of one.
    """
    plain = "".join(text.split())
    if not plain.startswith(TOKEN_PREFIX) or len(plain) > MAX_TOKEN_CHARACTERS:
        raise DecodeError(f"a token begins with {TOKEN_PREFIX}")
    encoded = plain.removeprefix(TOKEN_PREFIX)
    try:
        return base64.b64decode(
            encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True
        )
    except (ValueError, binascii.Error) as error:
        raise DecodeError("the token is cut off, or no token") from error
