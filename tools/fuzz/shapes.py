"""Shapes: what must be right around a mutation, or no parser looks further.

A shape takes an input apart into a text and the rest, and puts them together with the
right lengths and checksums around them. This module is pure.
"""

import base64
import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from tools.fuzz.byte_mutation import mutated
from tools.fuzz.text_mutation import mutated_json, mutated_toml

_LENGTH: Final = struct.Struct("<I")


def mutated_bytes(text: bytes, *, rng: Random) -> bytes:
    """Return ``text`` with some bytes changed."""
    return mutated(text, rng=rng, others=())


@dataclass(frozen=True, slots=True)
class Shape:
    """How an input is built.

    Attributes:
        split: Returns text and rest; raises ``ValueError`` for what has another shape.
        join: Returns the input of a text and a rest.
        mutate: Changes a text and keeps it well formed.
    """

    split: Callable[[bytes], tuple[bytes, bytes]]
    join: Callable[[bytes, bytes], bytes]
    mutate: Callable[..., bytes] = mutated_bytes

    def mutated(self, raw: bytes, *, rng: Random) -> bytes:
        """Return ``raw`` with a change inside, or anywhere if it lost its shape."""
        try:
            text, rest = self.split(raw)
        except ValueError:
            return mutated_bytes(raw, rng=rng)
        if rest and rng.random() < 0.3:
            return self.join(text, mutated_bytes(rest, rng=rng))
        if rng.random() < 0.2:
            return self.join(mutated_bytes(text, rng=rng), rest)
        return self.join(self.mutate(text, rng=rng), rest)


def headed(
    magic: bytes, *, seal: Callable[[bytes, bytes], bytes], seal_last: bool = False
) -> Shape:
    """Return the shape of: magic, u32 length of the text, seal, JSON text, the rest.

    ``seal`` makes the checksum of text and rest; ``seal_last`` puts it after the text.
    """
    width = len(seal(b"", b""))
    before, after = (0, width) if seal_last else (width, 0)

    def split(raw: bytes) -> tuple[bytes, bytes]:
        start = len(magic) + _LENGTH.size + before
        if not raw.startswith(magic) or len(raw) < start:
            raise ValueError("it begins otherwise")
        (length,) = _LENGTH.unpack_from(raw, len(magic))
        return raw[start : start + length], raw[start + length + after :]

    def join(text: bytes, rest: bytes) -> bytes:
        head, sealed = magic + _LENGTH.pack(len(text)), seal(text, rest)
        return head + (text + sealed if seal_last else sealed + text) + rest

    return Shape(split, join, mutated_json)


def _all(raw: bytes) -> tuple[bytes, bytes]:
    return raw, b""


def _text(text: bytes, rest: bytes) -> bytes:
    return text + rest


def _no_seal(_text: bytes, _rest: bytes) -> bytes:
    return b""


def _crc(text: bytes, _rest: bytes) -> bytes:
    return _LENGTH.pack(zlib.crc32(text))


def _sha256(text: bytes, rest: bytes) -> bytes:
    return hashlib.sha256(text + rest).digest()


def _split_journal(raw: bytes) -> tuple[bytes, bytes]:
    _, newline, text = raw.partition(b"\n")
    if not newline:
        raise ValueError("no journal")
    return text, b""


def _join_journal(text: bytes, _rest: bytes) -> bytes:
    return b"edgefed-journal 1 %s\n%s" % (
        hashlib.sha256(text).hexdigest().encode(),
        text,
    )


def _split_message(raw: bytes) -> tuple[bytes, bytes]:
    topic, zero, payload = raw.partition(b"\0")
    if not zero:
        raise ValueError("no topic")
    text, rest = FRAME.split(payload)
    return text, topic + b"\0" + rest


def _join_message(text: bytes, rest: bytes) -> bytes:
    topic, _, body = rest.partition(b"\0")
    return topic + b"\0" + FRAME.join(text, body)


def enveloped(seal: Callable[[bytes], bytes], *, header_bytes: int) -> Shape:
    """Return the shape of a frame with a signature of ``header_bytes`` before it.

    ``seal`` signs: what a hostile member, or a stolen key, could send.
    """

    def split(raw: bytes) -> tuple[bytes, bytes]:
        return FRAME.split(raw[header_bytes:])

    def join(text: bytes, rest: bytes) -> bytes:
        return seal(FRAME.join(text, rest))

    return Shape(split, join, mutated_json)


def _split_token(raw: bytes) -> tuple[bytes, bytes]:
    _, _, encoded = raw.partition(b":")
    return FRAME.split(base64.urlsafe_b64decode(encoded + b"=="))


def _join_token(text: bytes, rest: bytes) -> bytes:
    return b"efd1:" + base64.urlsafe_b64encode(FRAME.join(text, rest)).rstrip(b"=")


def npz(member: str) -> Shape:
    """Return the shape of an ``.npz`` file with one array: its checksum is right."""

    def split(raw: bytes) -> tuple[bytes, bytes]:
        try:
            with zipfile.ZipFile(io.BytesIO(raw)) as archive:
                return archive.read(member), b""
        except (zipfile.BadZipFile, KeyError, zlib.error, OSError, EOFError) as error:
            raise ValueError("no archive") from error
        except (RuntimeError, NotImplementedError) as error:
            raise ValueError("encrypted, or packed in another way") from error

    def join(text: bytes, _rest: bytes) -> bytes:
        file = io.BytesIO()
        packing = zipfile.ZIP_DEFLATED if len(text) % 2 else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, "w", packing) as archive:
            archive.writestr(member, text)
        return file.getvalue()

    return Shape(split, join)


BYTES: Final = Shape(_all, _text)
JSON: Final = Shape(_all, _text, mutated_json)
TOML: Final = Shape(_all, _text, mutated_toml)
FRAME: Final = headed(b"EFD1", seal=_no_seal)
SEGMENT: Final = headed(b"EFX1", seal=_crc)
VECTORS: Final = headed(b"EFV2", seal=_sha256, seal_last=True)
TOKEN: Final = Shape(_split_token, _join_token, mutated_json)
JOURNAL: Final = Shape(_split_journal, _join_journal, mutated_json)
MESSAGE: Final = Shape(_split_message, _join_message, mutated_json)
"""A topic, a zero byte, and a frame."""
