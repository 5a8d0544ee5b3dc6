"""Signing: Ed25519 keys that stand for a fleet, a device or a claim (RFC 8032).

A fleet signs what devices act on, a device signs its updates. Signatures are
deterministic: a device that repeats its work after a power cut sends the same bytes.
Why PyNaCl and not ``cryptography`` is in docs/adr/0020.

>>> pi = Signer(bytes(32))
>>> raw = pi.seal("edgefed/1/home/d/pi-1/up", b"frame")
>>> Verifier(pi.public).unseal("edgefed/1/home/d/pi-1/up", raw)
b'frame'
"""

import base64
import binascii
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nacl import bindings
from nacl.exceptions import BadSignatureError

from wire_protocol.envelope import SIGNATURE_BYTES, sealed, signed_text, split
from wire_protocol.errors import ConfigError, RefusedError, TrustError

KEY_BYTES: Final = 32
_MAX_FILE_BYTES: Final = 4096
_PEM_BEGIN: Final = "-----BEGIN PRIVATE KEY-----"
_PEM_END: Final = "-----END PRIVATE KEY-----"
# RFC 8410, section 7: PKCS #8 of an Ed25519 key is this, then its seed.
_PKCS8_HEAD: Final = bytes.fromhex("302e020100300506032b657004220420")


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key, from its seed of 32 bytes, which no text of it shows."""

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != KEY_BYTES:
            raise ConfigError(f"a key has {KEY_BYTES} bytes, not {len(self.seed)}")

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return bindings.crypto_sign_seed_keypair(self.seed)[0]

    def seal(self, context: str, frame: bytes) -> bytes:
        """Return ``frame`` in an envelope that holds for ``context`` only."""
        _, secret = bindings.crypto_sign_seed_keypair(self.seed)
        signed = bindings.crypto_sign(signed_text(context, frame), secret)
        return sealed(frame, signed[:SIGNATURE_BYTES])


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key, 32 bytes."""

    public: bytes

    def __post_init__(self) -> None:
        if len(self.public) != KEY_BYTES:
            raise TrustError(f"a public key has {KEY_BYTES} bytes")

    def unseal(self, context: str, raw: bytes) -> bytes:
        """Return the frame in ``raw``.

        Raises:
            TrustError: It has no signature, or not this key's for ``context``.
        """
        signature, frame = split(raw)
        if signature is None:
            raise TrustError(f"what came on {context:.120} is not signed")
        try:
            bindings.crypto_sign_open(
                signature + signed_text(context, frame), self.public
            )
        except (BadSignatureError, ValueError) as error:
            raise TrustError(
                f"the signature of what came on {context:.120} is not by the key that "
                "must have made it"
            ) from error
        return frame


def key_to_pem(signer: Signer) -> bytes:
    """Return the key as OpenSSL reads it: PKCS #8 in PEM."""
    text = base64.b64encode(_PKCS8_HEAD + signer.seed).decode()
    return f"{_PEM_BEGIN}\n{text}\n{_PEM_END}\n".encode()


def key_from_pem(raw: bytes) -> Signer:
    """Read a key, or raise ``TrustError``; nothing else, whatever ``raw`` holds."""
    try:
        lines = raw.decode("ascii").split()
        text = "".join(lines).removeprefix(_PEM_BEGIN.replace(" ", ""))
        body = text.removesuffix(_PEM_END.replace(" ", ""))
        der = base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error) as error:
        raise TrustError("not a private key in PEM") from error
    if len(der) != len(_PKCS8_HEAD) + KEY_BYTES or not der.startswith(_PKCS8_HEAD):
        raise TrustError("not an Ed25519 key in PKCS #8")
    return Signer(der[len(_PKCS8_HEAD) :])


def load_key(path: Path) -> Signer:
    """Read the private key in ``path``.

    Raises:
        ConfigError: It cannot be read, or is no key.
        RefusedError: Others than its owner may read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(
            f"the key {path} cannot be read: {error.strerror}",
            remedy="run this as the user it belongs to, or enrol anew",
        ) from error
    if mode & 0o077:
        raise RefusedError(
            f"the key {path} can be read by others (mode {mode & 0o777:o})",
            remedy=f"chmod 600 {path}",
        )
    try:
        return key_from_pem(raw)
    except TrustError as error:
        raise ConfigError(
            f"{path}: {error.problem}", remedy="enrol this device anew"
        ) from error
