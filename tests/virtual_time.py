"""An event loop whose clock jumps: hours of waiting take no time at all.

When nothing is ready, and no thread works for the loop, the clock moves on to the next
timer at once. Everything that asks the loop for the time, ``asyncio.sleep`` and
``asyncio.timeout`` among it, sees the virtual one. It is deterministic as long as what
threads do does not depend on how long it takes.

>>> async def wait() -> float:
...     began = asyncio.get_running_loop().time()
...     await asyncio.sleep(600)
...     return asyncio.get_running_loop().time() - began
>>> run_virtually(wait())
600.0
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")
_THREAD_PATIENCE_S = 30.0


class StuckError(AssertionError):
    """Nothing is ready, no timer is set, nobody works: it would wait for ever."""


class _JumpingSelector(selectors.BaseSelector):
    """Asks the real selector without waiting; lets the clock jump instead."""

    def __init__(self, jump: Callable[[float | None], bool]) -> None:
        self._real = selectors.DefaultSelector()
        self._jump = jump

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0) or self._jump(timeout):
            return ready
        return self._real.select(_THREAD_PATIENCE_S)  # a thread will wake it

    def register(
        self, fileobj: Any, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(
        self, fileobj: Any, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; its time begins at 0 and only moves when everybody waits."""

    def __init__(self) -> None:
        self._now = 0.0
        self._threads_busy = 0
        super().__init__(_JumpingSelector(self._jump))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run in a thread; the clock stands until it is done."""
        self._threads_busy += 1
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        # a cancelled future does not end its thread, but nobody waits for that one
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self) -> None:
        """Wait for its threads, in another thread, which takes no time either."""
        self._threads_busy += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._threads_busy -= 1

    def _thread_done(self, _: object) -> None:
        self._threads_busy -= 1

    def _jump(self, timeout: float | None) -> bool:
        if self._threads_busy:
            return False
        if timeout is None:
            raise StuckError("everybody waits, and for nothing that will come")
        self._now += timeout
        return True


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end on a loop with a clock of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
