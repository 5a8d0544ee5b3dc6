"""Renewal: a new certificate before the old one ends, while the agent works.

The fleet calls, the device sends its request again, the fleet answers: both come
through the sealed link, so they are the fleet's words. The device needs no clock, and
no library to read certificates with: our own authority's are always built alike
(RFC 5280, 4.1), so the few bytes that matter are found by what is around them, and
OpenSSL says whether certificate and key belong together.
"""

import base64
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any, Final

from edge_agent.membership import IdentityFolder
from wire_protocol.enrolment import (
    MAX_CERTIFICATE_BYTES,
    EnrolGrant,
    EnrolRefusal,
    EnrolRequest,
    RenewalCall,
)
from wire_protocol.envelope import Seal
from wire_protocol.errors import ConfigError, DecodeError, TrustError
from wire_protocol.framing import frame, parse_frame
from wire_protocol.link import Link
from wire_protocol.tls import client_context
from wire_protocol.topics import Topics

log = logging.getLogger(__name__)

_DAY_S: Final = 86_400
_LINE: Final = 64
# Validity: a SEQUENCE of two UTCTimes. Those of our authority end before 2050.
_VALIDITY: Final = re.compile(rb"\x30\x1e\x17\x0d\d{12}Z\x17\x0d(\d{12})Z")
_KEY_HEAD: Final = bytes.fromhex("302a300506032b6570032100")  # RFC 8410, section 4
_PEM_LINES: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----"
)

Begin = Callable[[Coroutine[Any, Any, None]], object]
"""Begins something that nobody waits for."""


class Renewal:
    """The certificate of a device at work; ``seal`` signs as the device."""

    def __init__(
        self, link: Link, *, topics: Topics, identity: IdentityFolder, seal: Seal
    ) -> None:
        self._link = link
        self._identity = identity
        self._device = identity.membership().device
        self._topic = topics.device(self._device, "renewal")
        self._seal = seal

    def receive(self, payload: bytes, *, begin: Begin) -> None:
        """Take what came on ``cmd/renew`` or ``cmd/certificate``.

        Raises:
            DecodeError: It is neither a call nor an answer.
        """
        parsed = parse_frame(payload, max_body_bytes=MAX_CERTIFICATE_BYTES)
        match parsed.message:
            case RenewalCall(seconds_left):
                log.info("the certificate holds %d more days", seconds_left // _DAY_S)
                begin(self._ask())
            case EnrolGrant():
                self._take(parsed.body)
            case EnrolRefusal(_, reason):
                log.error(
                    "the fleet does not renew the certificate: %s - whoever runs the "
                    "fleet must let this device join anew",
                    reason,
                )
            case other:
                raise DecodeError(f"{other.kind} is not expected here")

    async def _ask(self) -> None:
        message = EnrolRequest(self._device, "")
        try:
            request = (self._identity.path / "device.csr").read_bytes()
        except OSError as error:
            log.error(  # noqa: TRY400 - expected
                "the certificate cannot be renewed: %s - join with a new token: "
                "edgefed agent join --anew",
                error,
            )
            return
        sealed = self._seal(self._topic, frame(message, request))
        await self._link.publish(self._topic, sealed)

    def _take(self, der: bytes) -> None:
        """Keep a new certificate of our key; the next connection uses it."""
        identity = self._identity
        if public_key(der) != identity.signer.public:
            raise TrustError("the certificate is not of this device's key")
        try:
            # A broker may repeat old answers, which the fleet did sign.
            if ends(der) <= ends(_der((identity.path / "device.crt").read_bytes())):
                return
            identity.write("renewed.crt", pem(der))
            client_context(identity.renewed_tls)
            identity.write("device.crt", pem(der))
            (identity.path / "renewed.crt").unlink()
        except (ConfigError, OSError) as error:
            log.error("the new certificate is of no use: %s", error)  # noqa: TRY400
            return
        log.info("the certificate was renewed")


def ends(der: bytes) -> int:
    """Return when a certificate of ours ends, as the number YYYYMMDDhhmmss (UTC).

    Raises:
        TrustError: It is none of ours.
    """
    found = _VALIDITY.search(der)
    if found is None:
        raise TrustError("not a certificate of our authority")
    digits = found.group(1).decode()
    return int(("19" if digits >= "50" else "20") + digits)  # RFC 5280, 4.1.2.5.1


def public_key(der: bytes) -> bytes:
    """Return the Ed25519 key, 32 bytes, of a certificate of ours.

    Raises:
        TrustError: It is none of ours.
    """
    _, head, rest = der.partition(_KEY_HEAD)
    if not head or len(rest) < 32:
        raise TrustError("not a certificate of an Ed25519 key")
    return rest[:32]


def pem(der: bytes) -> bytes:
    """Return a certificate as OpenSSL reads it from files (RFC 7468)."""
    text = base64.b64encode(der).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return "\n".join(
        ("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", "")
    ).encode()


def _der(raw: bytes) -> bytes:
    found = _PEM_LINES.search(raw)
    return base64.b64decode(found.group(1)) if found else b""
