"""The log of examples that sensors make: durable, bounded, the oldest go first.

Examples are numbered as they come. They wait in memory and are written in batches,
since SD cards wear out, into segment files of which the oldest is dropped when there
are too many. What a power cut takes is the examples that waited.
"""

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge_agent.examples import (
    Examples,
    ExampleStore,
    Snapshot,
    joined,
    stacked,
)
from edge_agent.holdout import Split
from edge_agent.segment_folder import look_into
from edge_agent.segments import (
    Form,
    Segment,
    encode_header,
    encode_records,
    read_records,
    segment_name,
)
from edge_agent.state_files import StateFiles, StorageError
from wire_protocol.errors import ConfigError, DecodeError
from wire_protocol.params import Vector
from wire_protocol.selftest import Targets

log = logging.getLogger(__name__)

FOLDER: Final = "examples"
OVER_BUDGET: Final = "write_mib_a_day is spent for now"
TOO_MANY: Final = "too many wait to be written"
_SEGMENTS: Final = 8
_DAY_S: Final = 86_400.0
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a log keeps, and how much it may write.

    Attributes:
        examples: Kept at most.
        mib: Kept on disk at most, MiB.
        waiting: Examples that wait in memory before they should be written.
        mib_a_day: Written at most, MiB in 24 hours; more examples are turned away.
    """

    examples: int = 10_000
    mib: int = 32
    waiting: int = 64
    mib_a_day: float = 64.0


class ExampleLog:
    """Takes examples from any thread, and gives snapshots of what is on disk.

    Args:
        files: Writes, and counts what it writes.
        form: What every example is like; None takes that of the first.
        recipe: Names what makes the examples, where ``form`` is None.
        limits: How much is kept and written.
        split: Which examples are held out.
        clock: Seconds that only grow.

    Raises:
        ConfigError: The folder has examples of another form.
    """

    def __init__(
        self,
        files: StateFiles,
        *,
        form: Form | None,
        limits: Limits,
        split: Split,
        recipe: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self.folder = files.folder / FOLDER
        self._limits = limits
        self._split = split
        self._clock = clock
        self._recipe = recipe
        self._writing = threading.Lock()
        self._taking = threading.Lock()
        self._waiting: list[tuple[Vector, Targets]] = []
        self._segments = self._opened(form)
        self.form = self._segments[-1].form if self._segments else form
        self._training = sum(self._trains(segment) for segment in self._segments)
        self._allowed = 0.0
        self._since = clock()
        self._grow_allowance(at=self._since + _DAY_S / 24)

    @property
    def count(self) -> int:
        """Examples on disk to train on."""
        return self._training

    @property
    def waiting(self) -> int:
        """Examples that are not on disk yet."""
        return len(self._waiting)

    @property
    def next_number(self) -> int:
        """Number of the next example, counting those that wait."""
        last = self._segments[-1] if self._segments else None
        return (last.first + last.count if last else 0) + len(self._waiting)

    def append(self, x: Vector, y: Targets) -> str:
        """Take an example, or return why not now; empty: it is taken.

        Raises:
            ConfigError: It is not like the others.
        """
        with self._taking:
            self._check(x, y)
            assert self.form is not None
            now = self._clock()
            self._grow_allowance(at=now)
            if self._allowed < self.form.record_bytes:
                return OVER_BUDGET
            # a disk that is full for long must not fill the memory
            if len(self._waiting) >= max(4 * self._limits.waiting, 16):
                return TOO_MANY
            self._allowed -= self.form.record_bytes
            self._waiting.append((x.copy(), y))  # the caller may fill it anew
        return ""

    def flush(self) -> int:
        """Write what waits; return how many examples that were.

        Raises:
            StorageError: They cannot be written, and wait on.
        """
        with self._writing:
            with self._taking:
                batch = list(self._waiting)
            written = 0
            try:
                while written < len(batch):
                    written += self._write(batch[written:])
            finally:
                with self._taking:
                    kept = {id(x) for x, _ in batch[:written]}
                    self._waiting = [
                        item for item in self._waiting if id(item[0]) not in kept
                    ]
            return written

    def snapshot(self, wanted: str = "") -> Snapshot:
        """Return the examples that ``wanted`` names, else all that are on disk.

        What waits is written first. The arrays are copies: they stay as they are.

        Raises:
            StorageError: The examples cannot be read.
        """
        try:
            self.flush()
        except StorageError as error:
            log.warning("%s", error)
        with self._writing:
            try:
                if wanted and (span := _span(wanted)):
                    again = self._copied(*span)
                    if again.key == wanted:
                        return again
                    del again
                return self._copied(0, self._behind())
            except DecodeError as error:
                raise StorageError(
                    f"the examples are lost: {error.problem}",
                    remedy=f"remove {self.folder} to begin anew",
                ) from error

    def as_store(self, source: str, *, min_examples: int) -> ExampleStore:
        """Return the store that rounds use."""
        return ExampleStore(source, lambda: self.count, self.snapshot, min_examples)

    # --- opening --------------------------------------------------------------

    def _opened(self, form: Form | None) -> list[Segment]:
        found = look_into(self.folder)
        for path in found.damaged:
            self._files.remove(path)
        segments = [segment for segment in found.segments if segment.count]
        for segment in found.segments:
            if not segment.count:
                self._files.remove(segment.path)
            elif segment.path.stat().st_size > segment.end:
                with contextlib.suppress(StorageError):  # the next batch cuts it too
                    self._files.append(segment.path, b"", at=segment.end)
        had = segments[0].form if segments else form
        wants = form or (had and replace(had, recipe=self._recipe))
        if had and wants and any(segment.form != wants for segment in segments):
            raise ConfigError(
                f"{self.folder} has examples {_described(had)}, [data] makes "
                f"{_described(wants)}, or makes them in another way",
                remedy="put [data] back, or move that folder away to begin anew",
            )
        return segments

    # --- taking ---------------------------------------------------------------

    def _check(self, x: Vector, y: Targets) -> None:
        if self.form is None:
            self.form = form_of(x, y, recipe=self._recipe)
        outputs = () if self.form.targets == "classes" else (self.form.outputs,)
        if x.shape != self.form.shape or y.shape != outputs:
            raise ConfigError(
                f"an example has x {list(x.shape)} and y {list(y.shape)}, those "
                f"before {_described(self.form)}",
                remedy="make all examples of one shape, with targets of one kind",
            )

    def _grow_allowance(self, *, at: float) -> None:
        """Let an hour's share be saved up, and always some examples."""
        a_day = self._limits.mib_a_day * _MIB
        form = self.form
        most = max(a_day / 24, 16.0 * form.record_bytes if form else 0.0)
        grown = self._allowed + max(0.0, at - self._since) * a_day / _DAY_S
        self._allowed, self._since = min(most, grown), at

    # --- writing --------------------------------------------------------------

    def _write(self, batch: list[tuple[Vector, Targets]]) -> int:
        """Write the beginning of ``batch`` into one segment; return its length."""
        form = self.form
        assert form is not None
        room = self._segment_room(form)
        last = self._segments[-1] if self._segments else None
        grows = last is not None and last.count < room
        first = self._behind()
        count = min(len(batch), room - last.count if last and grows else room)
        records = encode_records(form, stacked(batch[:count]), first=first)
        if last is not None and grows:
            self._files.append(last.path, records, at=last.end)
            self._segments[-1] = replace(last, count=last.count + count)
        else:
            header = encode_header(form, first=first)
            path = self.folder / segment_name(first)
            self._files.write(path, header, records)
            self._segments.append(Segment(path, form, first, count, len(header)))
        held = self._split.held(np.arange(first, first + count))
        self._training += count - int(held.sum())
        self._drop_oldest(self._most(form))
        return count

    def _segment_room(self, form: Form) -> int:
        return max(1, self._most(form) // _SEGMENTS)

    def _most(self, form: Form) -> int:
        """Examples that are kept at most."""
        return max(
            1, min(self._limits.examples, self._limits.mib * _MIB // form.record_bytes)
        )

    def _drop_oldest(self, most: int) -> None:
        kept = sum(segment.count for segment in self._segments)
        while len(self._segments) > 1 and kept > most:
            oldest = self._segments.pop(0)
            kept -= oldest.count
            self._training -= self._trains(oldest)
            self._files.remove(oldest.path)

    def _behind(self) -> int:
        """Number behind the last example on disk."""
        last = self._segments[-1] if self._segments else None
        return last.first + last.count if last else 0

    def _trains(self, segment: Segment) -> int:
        numbers = np.arange(segment.first, segment.first + segment.count)
        return segment.count - int(self._split.held(numbers).sum())

    # --- reading --------------------------------------------------------------

    def _copied(self, first: int, behind: int) -> Snapshot:
        """Copy the examples numbered from ``first`` to ``behind - 1``."""
        cuts = []
        for segment in self._segments:
            start = max(first, segment.first) - segment.first
            stop = min(behind, segment.first + segment.count) - segment.first
            if start < stop:
                cuts.append((segment, start, stop))
        numbers = [np.arange(s.first + a, s.first + b) for s, a, b in cuts]
        held = [self._split.held(part) for part in numbers]
        judging = sum(int(part.sum()) for part in held)
        training = sum(len(part) for part in held) - judging
        parts = _empty(self.form, training), _empty(self.form, judging)
        filled = [0, 0]
        split = self._split
        digest = hashlib.sha256(
            f"{self.form}/{split.fraction}/{split.seed}/{split.run}".encode()
        )
        for (segment, start, stop), held_out in zip(cuts, held, strict=True):
            words = read_records(segment, start, stop)
            digest.update(words[:, 0].astype("<u4").tobytes())
            examples = segment.form.examples(words)
            for side, rows in enumerate((~held_out, held_out)):
                begin = filled[side]
                filled[side] = end = begin + int(rows.sum())
                parts[side].x[begin:end] = examples.x[rows]
                parts[side].y[begin:end] = examples.y[rows]
        span = f"{numbers[0][0]}-{numbers[-1][-1] + 1}" if numbers else "0-0"
        key = f"{span}-{digest.hexdigest()[:16]}"
        return Snapshot(*parts, source=str(self.folder), key=key)


def form_of(x: Vector, y: Targets, *, recipe: str = "") -> Form:
    """Return the form of one example, or raise ``ConfigError``: it has none."""
    try:
        if y.ndim == 0:
            return Form(x.shape, "classes", 1, recipe)
        return Form(x.shape, "numbers" if y.size else "none", y.size, recipe)
    except DecodeError as error:
        raise ConfigError(error.problem, remedy="make smaller examples") from error


def _described(form: Form) -> str:
    what = f"{form.outputs} numbers" if form.targets == "numbers" else form.targets
    return f"of shape {list(form.shape)} with {what} as targets"


def _empty(form: Form | None, count: int) -> Examples:
    if form is None:
        return joined(())
    x = np.empty((count, *form.shape), np.float32)
    if form.targets == "classes":
        return Examples(x, np.empty(count, np.int32))
    return Examples(x, np.empty((count, form.outputs), np.float32))


def _span(key: str) -> tuple[int, int] | None:
    """Return the first number, and that behind the last, in a snapshot's key."""
    parts = key.split("-")
    if len(parts) != 3 or not all(p.isdecimal() and len(p) <= 16 for p in parts[:2]):
        return None
    return int(parts[0]), int(parts[1])
