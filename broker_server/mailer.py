"""Mailer: publishes in order, without making a round wait for the broker."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from wire_protocol.errors import TransportError
from wire_protocol.link import Link

DRAIN_S: Final = 2.0
MAX_REPEAT_S: Final = 60.0
_log = logging.getLogger("edgefed.server")


class Repetition:
    """Something retained that is published again and again, until it is cancelled."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False

    def begin(self, create: Callable[[], asyncio.Task[None]]) -> None:
        """Begin, unless it was cancelled before."""
        if not self._cancelled:
            self._task = create()

    def cancel(self) -> None:
        """Publish it no more."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()


class Mailer:
    """Messages on their way to the broker.

    What is lost with a connection is not sent again from here: retained messages are
    published anew on ``Connected``, and devices repeat what got no answer.
    """

    def __init__(self, link: Link, group: asyncio.TaskGroup) -> None:
        self._link = link
        self._group = group
        self._sending: set[asyncio.Task[None]] = set()
        self._held: list[Callable[[], None]] | None = None

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Send what is posted inside when it ended well, and never if it failed.

        Whatever says what was stored must not go out before it is.
        """
        held: list[Callable[[], None]] = []
        self._held = held
        try:
            yield
        finally:
            self._held = None
        for begin in held:
            begin()

    def post(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Begin to publish at QoS 1 and return at once."""

        def begin() -> None:
            # A defect in the link ends the task group, and with it the server.
            task = self._group.create_task(self.send(topic, payload, retain=retain))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

        self._when_free(begin)

    def repeat(self, topic: str, payload: bytes, *, after_s: float) -> Repetition:
        """Begin to publish something retained, again and again until cancelled."""
        repetition = Repetition()

        def create() -> asyncio.Task[None]:
            return self._group.create_task(
                self._repeat(topic, payload, after_s=after_s)
            )

        self._when_free(lambda: repetition.begin(create))
        return repetition

    def _when_free(self, begin: Callable[[], None]) -> None:
        if self._held is None:
            begin()
        else:
            self._held.append(begin)

    async def _repeat(self, topic: str, payload: bytes, *, after_s: float) -> None:
        while True:
            await self.send(topic, payload, retain=True)
            await asyncio.sleep(after_s)
            after_s = min(2 * after_s, MAX_REPEAT_S)

    async def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait until it is acknowledged, or lost."""
        with contextlib.suppress(TransportError):
            await self._link.publish(topic, payload, retain=retain)

    async def subscribe(self, filters: Iterable[str]) -> None:
        """Subscribe now, or when the link comes back."""
        for topic_filter in filters:
            try:
                await self._link.subscribe(topic_filter)
            except TransportError as error:  # the link tries again by itself
                _log.warning("%s", error)

    async def drain(self) -> None:
        """Wait, within reason, until everything is acknowledged."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=DRAIN_S)
        for task in self._sending:
            task.cancel()
