"""The hook: a function of yours that yields examples, read in a thread.

    def examples(start):        # how many of them were kept before
        while True:
            yield x, y          # or x alone, where the model needs no target

It runs with all rights of the agent: it is your code, named in your configuration.
"""

import asyncio
import importlib
import importlib.util
import logging
import threading
from collections.abc import Callable, Iterable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np

from edge_agent.data_settings import DataSettings, PythonSettings
from edge_agent.example_log import ExampleLog
from edge_agent.sources.feed import Feed, News, nothing, write_in_batches
from edge_agent.sources.sensors import close_log
from wire_protocol.errors import ConfigError
from wire_protocol.params import Vector
from wire_protocol.selftest import Targets

log = logging.getLogger(__name__)

MAX_LABEL: Final = 65_535
_PAUSE_S: Final = 0.2
_REMEDY: Final = "correct it; docs/examples.md shows what it is to yield"


def load_hook(settings: PythonSettings) -> Callable[[int], Iterable[object]]:
    """Return the function that ``[data.python]`` names.

    Raises:
        ConfigError: There is none, or importing its file failed.
    """
    where = str(settings.file or settings.module)
    try:
        module = (
            _module_at(settings.file)
            if settings.file
            else importlib.import_module(settings.module)
        )
    except Exception as error:
        raise ConfigError(
            f"[data.python] {where} cannot be imported: {_told(error)}", remedy=_REMEDY
        ) from error
    function = getattr(module, settings.function, None)
    if not callable(function):
        raise ConfigError(
            f"[data.python] {where} has no function {settings.function!r:.60}",
            remedy="correct function",
        )
    found: Callable[[int], Iterable[object]] = function
    return found


def example_of(item: object) -> tuple[Vector, Targets]:
    """Return ``x`` and ``y`` of what a hook yielded, or raise ``ConfigError``."""
    x, y = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
    try:
        with np.errstate(over="ignore"):  # what is too large is not finite
            values = np.asarray(x, np.float32)
        if not values.ndim or not values.size or not np.isfinite(values).all():
            raise ConfigError(
                f"x has shape {list(values.shape)}, or a value that is not finite",
                remedy=_REMEDY,
            )
        return values, _targets(y)
    except (ValueError, TypeError, OverflowError) as error:
        raise ConfigError(
            f"{type(item).__name__} is no example: {_told(error)}", remedy=_REMEDY
        ) from error


class Hook:
    """Reads examples from a hook in a thread of its own, into a log."""

    def __init__(
        self, function: Callable[[int], Iterable[object]], *, log_: ExampleLog
    ) -> None:
        self._function = function
        self._log = log_
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="examples", daemon=True)
        self.problem: ConfigError | None = None
        """Why it ended before its time."""
        self.on_change: Callable[[], None] = nothing
        """Called in the thread after every example, and at the end."""

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more; a hook that waits for its sensor is left behind."""
        self._stop.set()

    def _read(self) -> None:
        try:
            for item in self._function(self._log.next_number):
                x, y = example_of(item)
                # faster than the card may be written: the hook waits, nothing is lost
                while not self._stop.is_set() and self._log.append(x, y):
                    self._stop.wait(_PAUSE_S)
                if self._stop.is_set():
                    return
                self.on_change()
        except ConfigError as error:
            self.problem = error
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises
            self.problem = ConfigError(
                f"the hook failed after {self._log.next_number} examples: "
                f"{_told(error)}",
                remedy=_REMEDY,
            )
        self.on_change()


def hook_feed(hook: Hook, log_: ExampleLog, settings: DataSettings) -> Feed:
    """Return the feed of ``hook`` into ``log_``."""
    due = asyncio.Event()
    store = settings.store

    def write() -> int:
        written = log_.flush()
        if hook.problem is not None:
            raise hook.problem
        return written

    async def run(news: News) -> None:
        loop = asyncio.get_running_loop()

        def look() -> None:
            if log_.waiting >= store.flush_examples or hook.problem is not None:
                loop.call_soon_threadsafe(due.set)

        hook.on_change = look
        hook.start()
        try:
            await write_in_batches(write, due=due, every_s=store.flush_s, news=news)
        finally:
            hook.on_change = nothing
            hook.stop()

    def close() -> None:
        hook.stop()
        close_log(log_)

    return Feed(frozenset(), nothing, run, close)


class _AsItIs(SourceFileLoader):
    """Loads the file itself, and keeps no bytecode.

    Python takes bytecode for the file's own as long as its size and the second of its
    last change are the same.
    """

    def path_stats(self, path: Any) -> NoReturn:  # noqa: ANN401 - as importlib calls it
        raise OSError(f"no bytecode of {path}")


def _module_at(path: Path) -> object:
    name = f"edgefed_hook_{path.stem}"
    loader = _AsItIs(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _targets(y: Any) -> Targets:  # noqa: ANN401 - it is the user's
    if y is None:
        return np.zeros(0, np.float32)
    given = np.asarray(y)
    if given.ndim == 0 and given.dtype.kind in "iu":
        if not 0 <= int(given) <= MAX_LABEL:
            raise ConfigError(
                f"class {int(given)} is outside 0 to {MAX_LABEL}", remedy=_REMEDY
            )
        return given.astype(np.int32)
    if given.dtype.kind not in "fiu" or given.ndim > 1 or not given.size:
        raise ConfigError(
            f"y is {given.dtype} {list(given.shape)}, expected a whole number (a "
            "class) or numbers [K]",
            remedy=_REMEDY,
        )
    with np.errstate(over="ignore"):
        numbers = np.atleast_1d(given).astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ConfigError("y has a value that is not finite", remedy=_REMEDY)
    return numbers


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
