"""A feed: what keeps a store of examples filled while the agent runs."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

from edge_agent.state_files import StorageError

log = logging.getLogger(__name__)

Receive: TypeAlias = Callable[[str, bytes, bool], None]
News: TypeAlias = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Feed:
    """What a service does for a store.

    Attributes:
        topics: Subscribed to; messages on them go to ``receive`` and nowhere else.
        receive: Takes topic, payload, and whether the broker had kept it.
        run: Works until it is cancelled, and calls what it is given when there are
            other examples than before. Its errors end the agent.
        close: Writes what waits, when the agent ends in order.
    """

    topics: frozenset[str]
    receive: Receive
    run: Callable[[News], Coroutine[Any, Any, None]]
    close: Callable[[], None]


async def write_in_batches(
    write: Callable[[], int], *, due: asyncio.Event, every_s: float, news: News
) -> None:
    """Call ``write``, in a thread, every so often and when it is ``due``; for ever.

    A disk that is full is told once, and tried again.
    """
    told = False
    while True:
        try:
            async with asyncio.timeout(every_s):
                await due.wait()
        except TimeoutError:
            pass
        due.clear()
        try:
            written = await asyncio.to_thread(write)
        except StorageError as error:
            if not told:
                log.warning("examples wait in memory: %s", error)
            told = True
            continue
        if told:
            log.info("examples are written again")
        told = False
        if written:
            news()


def nothing(*_: object) -> None:
    """Do nothing."""
