"""Frames: a message and its body as bytes.

    magic "EFD1" | u32 little-endian length of the header | header | body

The header is canonical JSON (sorted keys, no white space, no NaN), so that a frame can
be read with ``mosquitto_sub``. Limits are checked before anything is parsed. Unknown
fields are ignored, unknown message kinds are errors. This module is pure.

>>> raw = frame(Abandoned(round=3, reason=Reason.BUDGET_SPENT))
>>> parse_frame(raw).message
Abandoned(round=3, reason=<Reason.BUDGET_SPENT: 'budget_spent'>)
"""

import json
import struct
from dataclasses import dataclass
from typing import Final, TypeVar

from wire_protocol.errors import DecodeError, EncodeError, Reason
from wire_protocol.fields import Fields, json_object
from wire_protocol.messages import MESSAGES, Abandoned, Message, to_header

__all__ = [
    "MAX_HEADER_BYTES",
    "PREFIX_BYTES",
    "Abandoned",
    "Frame",
    "Reason",
    "body_start",
    "expect",
    "frame",
    "parse_frame",
]

MAGIC: Final = b"EFD1"
MAX_HEADER_BYTES: Final = 64 * 1024
_PREFIX: Final = struct.Struct("<4sI")
PREFIX_BYTES: Final = _PREFIX.size
_Kind = TypeVar("_Kind", bound=Message)


@dataclass(frozen=True, slots=True)
class Frame:
    """A parsed frame."""

    message: Message
    body: bytes


def frame(message: Message, body: bytes = b"") -> bytes:
    """Return the bytes of ``message`` and ``body``."""
    try:
        text = json.dumps(
            to_header(message), sort_keys=True, separators=(",", ":"), allow_nan=False
        )
    except ValueError as error:
        raise EncodeError(f"{message.kind}: {error}") from error
    header = text.encode()
    if len(header) > MAX_HEADER_BYTES:
        raise EncodeError(
            f"{message.kind}: a header has up to {MAX_HEADER_BYTES} bytes, "
            f"not {len(header)}"
        )
    return _PREFIX.pack(MAGIC, len(header)) + header + body


def body_start(raw: bytes) -> int:
    """Return where the body of the frame begins whose first bytes are ``raw``.

    Raises:
        DecodeError: No frame begins like this.
    """
    if len(raw) < PREFIX_BYTES:
        raise DecodeError(f"a frame has at least {PREFIX_BYTES} bytes, not {len(raw)}")
    magic, length = _PREFIX.unpack_from(raw)
    if magic != MAGIC:
        raise DecodeError(f"a frame begins with {MAGIC!r}, not {magic!r}")
    if length > MAX_HEADER_BYTES:
        raise DecodeError(f"a header of {length} bytes does not fit {MAX_HEADER_BYTES}")
    return PREFIX_BYTES + int(length)


def parse_frame(raw: bytes, *, max_body_bytes: int = 1 << 28) -> Frame:
    """Parse, or raise ``DecodeError``; nothing else, whatever ``raw`` holds."""
    start = body_start(raw)
    if start > len(raw):
        raise DecodeError(f"a header to byte {start} does not fit {len(raw)}")
    if len(raw) - start > max_body_bytes:
        raise DecodeError(
            f"a body of {len(raw) - start} bytes is over {max_body_bytes}",
            reason=Reason.TOO_LARGE,
        )
    header = json_object(raw[PREFIX_BYTES:start], what="a header")
    kind = Fields(header, owner="frame").text("t", longest=32)
    if kind not in MESSAGES:
        raise DecodeError(f"{kind!r} is no message this version knows")
    message = MESSAGES[kind].read(Fields(header, owner=kind))
    return Frame(message, raw[start:])


def expect(kind: type[_Kind], raw: bytes) -> tuple[_Kind, bytes]:
    """Parse a frame that must carry a ``kind``; return message and body."""
    parsed = parse_frame(raw)
    if not isinstance(parsed.message, kind):
        raise DecodeError(f"expected {kind.kind}, not {parsed.message.kind}")
    return parsed.message, parsed.body
