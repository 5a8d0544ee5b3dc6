"""A stored update: an accepted client update where it is kept, decoded in chunks.

The updates of a cohort may be far more than should be in memory at once (float32 ones
are as large as the model), so opening one reads its header, and a chunk no more than
itself.
"""

from collections.abc import Iterator
from typing import Protocol, TypeAlias

from wire_protocol.codecs import codec_named
from wire_protocol.entropy import Payload
from wire_protocol.framing import PREFIX_BYTES, body_start, expect
from wire_protocol.messages import ClientUpdate
from wire_protocol.params import Vector


class StoredFile(Protocol):
    """An open file, or what reads like one, such as a value in the database."""

    def read(self, length: int, /) -> bytes:
        """Return the next ``length`` bytes, or those that are left."""
        ...

    def seek(self, offset: int, /) -> object:
        """Go to ``offset`` from the start."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


Stored: TypeAlias = bytes | StoredFile
"""An update's frame: in memory, or open where it is stored."""


class StoredUpdate:
    """An update whose header was read: its ``message``; its delta is read when asked.

    Raises:
        DecodeError: It is no client update.
    """

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._start = body_start(self._first(PREFIX_BYTES))
        self.message, _ = expect(ClientUpdate, self._first(self._start))

    def chunks(self, size: int, *, out: Vector, factor: float) -> Iterator[Vector]:
        """Yield the delta times ``factor`` chunk by chunk, as ``Codec.chunks`` does.

        Each call begins anew; of a file only one at a time may be in use.
        """
        payload: Payload
        if isinstance(self._stored, bytes):
            payload = memoryview(self._stored)[self._start :]
        else:
            self._stored.seek(self._start)
            payload = self._stored
        codec = codec_named(self.message.codec)
        return codec.chunks(payload, size, out=out, factor=factor)

    def close(self) -> None:
        """Close the file, if it is one."""
        if not isinstance(self._stored, bytes):
            self._stored.close()

    def _first(self, count: int) -> bytes:
        if isinstance(self._stored, bytes):
            return self._stored[:count]
        self._stored.seek(0)
        return self._stored.read(count)
