"""The server's greeting: what a device must know of it, asked for until it is known."""

import asyncio
import contextlib
from typing import Final

from wire_protocol.errors import TransportError
from wire_protocol.framing import expect
from wire_protocol.link import Link
from wire_protocol.messages import ServerInfo
from wire_protocol.topics import Topics

ASK_AGAIN_S: Final = 1.0


class Greeting:
    """The last ``server_info``."""

    def __init__(self, link: Link, *, topics: Topics) -> None:
        self._link = link
        self._topics = topics
        self._info: ServerInfo | None = None
        self._came = asyncio.Event()

    def receive(self, payload: bytes) -> ServerInfo:
        """Take a ``server_info`` from the network, or raise ``DecodeError``."""
        self._info, _ = expect(ServerInfo, payload)
        self._came.set()
        return self._info

    async def info(self) -> ServerInfo:
        """Wait for ``server_info``; asking for it anew, since brokers lose messages."""
        while self._info is None:
            try:
                async with asyncio.timeout(ASK_AGAIN_S):
                    await self._came.wait()
            except TimeoutError:
                with contextlib.suppress(TransportError):
                    await self._link.subscribe(self._topics.server_info)  # retained
        return self._info
