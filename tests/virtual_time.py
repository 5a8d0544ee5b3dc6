"""An event loop whose clock jumps: hours of waiting take no time at all.

When nothing is ready the clock moves on to the next timer at once. Everything that asks
the loop for the time, ``asyncio.sleep`` and ``asyncio.timeout`` among it, sees the
virtual one. What is given to a thread is done before anything else happens, so that a
run is the same every time.

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
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")


class StuckError(AssertionError):
    """Nothing is ready, no timer is set, nobody works: it would wait for ever."""


class _JumpingSelector(selectors.BaseSelector):
    """Asks the real selector without waiting; lets the clock jump instead."""

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        self._real = selectors.DefaultSelector()
        self._jump = jump

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if not ready and (timeout is None or timeout > 0):
            self._jump(timeout)
        return ready

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
        self._own_thread = ThreadPoolExecutor(1)
        super().__init__(_JumpingSelector(self._jump))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run in a thread; nothing else happens, and no time passes, meanwhile."""
        working = (executor or self._own_thread).submit(func, *args)
        wait({working})
        return asyncio.wrap_future(working, loop=self)

    def close(self) -> None:
        """Close the loop and end its thread."""
        self._own_thread.shutdown()
        super().close()

    def _jump(self, timeout: float | None) -> None:
        if timeout is None:
            raise StuckError("everybody waits, and for nothing that will come")
        self._now += timeout


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end on a loop with a clock of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
