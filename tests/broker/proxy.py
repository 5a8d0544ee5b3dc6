"""A TCP proxy on loopback that counts bytes, and can hold back or cut."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"


class CountingProxy:
    """Pass bytes between clients and ``target_port``; an async context manager.

    ``up`` counts bytes from clients to the target, ``down`` those back, both as
    they come in.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._holding = asyncio.Event()
        self._moved = asyncio.Event()
        self.up = 0
        self.down = 0

    @property
    def port(self) -> int:
        """Where clients connect."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    def hold(self) -> None:
        """Take bytes, but pass on none, from now on."""
        self._flowing.clear()
        self._holding.clear()

    async def held(self) -> None:
        """Wait until bytes came in that ``hold`` keeps from going on."""
        await self._holding.wait()

    async def until_down(self, count: int) -> None:
        """Wait until ``count`` bytes came back from the target."""
        while self.down < count:
            self._moved.clear()
            await self._moved.wait()

    def cut(self) -> None:
        """Reset every connection, as when a cable is pulled."""
        self._flowing.set()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        task = asyncio.ensure_future(self._join(client, to_client))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        await asyncio.wait({task})

    async def _join(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        writers = {to_client}
        try:
            target, to_target = await asyncio.open_connection(
                LOOPBACK, self._target_port
            )
            writers.add(to_target)
            self._writers |= writers
            await asyncio.gather(
                self._pass_on(client, to_target, up=True),
                self._pass_on(target, to_client, up=False),
            )
        except OSError:
            return  # the target is down: so are we, for this client
        finally:
            self._writers -= writers
            for writer in writers:
                writer.transport.abort()

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if up:
                    self.up += len(data)
                else:
                    self.down += len(data)
                self._moved.set()
                if not self._flowing.is_set():
                    self._holding.set()
                    await self._flowing.wait()
                sink.write(data)
                await sink.drain()
        sink.close()
        with contextlib.suppress(OSError):
            await sink.wait_closed()
