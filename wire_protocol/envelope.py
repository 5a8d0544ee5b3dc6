"""Envelopes: a frame with the signature of who stands for it, as bytes.

    magic "EFS1" | Ed25519 signature, 64 bytes | frame

The signature also covers a *context*, the topic the frame is meant for: what was said
to one device, of one round, in one fleet proves nothing anywhere else. This module is
pure; keys are in ``signing``.

>>> split(sealed(b"frame", bytes(64)))[1]
b'frame'
>>> split(b"frame")
(None, b'frame')
"""

import struct
from collections.abc import Callable
from typing import Final, TypeAlias

from wire_protocol.errors import TrustError

MAGIC: Final = b"EFS1"
SIGNATURE_BYTES: Final = 64
ENVELOPE_BYTES: Final = len(MAGIC) + SIGNATURE_BYTES
"""What an envelope adds to a frame."""
_MAX_CONTEXT_BYTES: Final = 65_535

Seal: TypeAlias = Callable[[str, bytes], bytes]
"""``seal(context, frame)``: the frame in an envelope; as it is without identities."""
Unseal: TypeAlias = Callable[[str, bytes], bytes]
"""``unseal(context, raw)``: the frame, once it is known who sent it; ``TrustError``."""


def as_it_is(context: str, raw: bytes) -> bytes:  # noqa: ARG001 - a Seal and an Unseal
    """Return ``raw``: for a federation on one machine, which has no identities."""
    return raw


def sealed(frame: bytes, signature: bytes) -> bytes:
    """Return ``frame`` in an envelope with ``signature``, 64 bytes."""
    return MAGIC + signature + frame


def split(raw: bytes) -> tuple[bytes | None, bytes]:
    """Return signature and frame, neither of them checked; None: there is no envelope.

    Raises:
        TrustError: It begins like an envelope but is too short for one.
    """
    if not raw.startswith(MAGIC):
        return None, raw
    if len(raw) < ENVELOPE_BYTES:
        raise TrustError(
            f"an envelope has at least {ENVELOPE_BYTES} bytes, not {len(raw)}"
        )
    return raw[len(MAGIC) : ENVELOPE_BYTES], raw[ENVELOPE_BYTES:]


def signed_text(context: str, frame: bytes) -> bytes:
    """Return the bytes that a signature of ``frame`` for ``context`` covers."""
    encoded = context.encode()
    if len(encoded) > _MAX_CONTEXT_BYTES:
        raise TrustError(f"a context of {len(encoded)} bytes is no topic")
    return MAGIC + struct.pack("<H", len(encoded)) + encoded + frame
