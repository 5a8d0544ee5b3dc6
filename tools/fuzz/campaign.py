"""A campaign: one target, so many inputs, and what became of each.

Inputs are mutations of seeds and of earlier inputs that ended somewhere new: at another
exception, or another line that raised it. So the corpus works its way past one check
after the other, without the cost of tracing. The same seed gives the same inputs.
"""

import os
import resource
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tools.fuzz.byte_mutation import mutated
from tools.fuzz.target import Entry, Target

MAX_CORPUS: Final = 400
MEASURE_EVERY: Final = 4
"""One input in so many has its memory traced, which makes it slow."""
SLOW_S: Final = 2.0
ROOM_BYTES: Final = 1 << 31
"""What a process may allocate: a bomb is a ``MemoryError``, and no dead machine."""
MAX_GROWTH_BYTES: Final = 64 << 20
"""Of a process, by all its inputs; only some are traced one by one."""
MAX_FINDINGS: Final = 10
MAX_SHOWN_BYTES: Final = 4096
_MOST_MUTATIONS: Final = (1, 1, 1, 2, 3, 6)


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that showed a defect.

    Attributes:
        kind: The exception, or what was exceeded.
        detail: Its text, and where.
        input: In hex, its first bytes.
    """

    kind: str
    detail: str
    input: str


@dataclass(slots=True)
class Outcome:
    """What a campaign saw; outcomes of one target can be added.

    Attributes:
        target: Its name.
        inputs: How many.
        accepted: Of them.
        seconds: It took.
        refusals: Inputs by the exception they ended in.
        places: Different ends there were: exceptions, and lines that raised them.
        peak_bytes: Most memory that one traced input took.
        rss_growth_bytes: By how much the process grew in all.
        slowest_s: CPU time of the slowest input.
        findings: Defects, the first ones.
    """

    target: str
    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    refusals: Counter[str] = field(default_factory=Counter)
    places: int = 0
    peak_bytes: int = 0
    rss_growth_bytes: int = 0
    slowest_s: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Take in what another campaign on the same target saw."""
        self.inputs += other.inputs
        self.accepted += other.accepted
        self.seconds += other.seconds
        self.refusals += other.refusals
        self.places = max(self.places, other.places)
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        self.rss_growth_bytes = max(self.rss_growth_bytes, other.rss_growth_bytes)
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.findings += other.findings[: MAX_FINDINGS - len(self.findings)]


class Campaign:
    """One run over one target.

    Args:
        target: What to run.
        seed: From which all inputs follow.
        slow_s: CPU time that no input may take.
    """

    def __init__(self, target: Target, *, seed: str, slow_s: float = SLOW_S) -> None:
        self.outcome = Outcome(target.name)
        self._target = target
        self._slow_s = slow_s
        self._rng = Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._corpus = list(target.seeds)
        self._ends: set[tuple[str, str, int]] = set()
        self._found: set[tuple[str, str]] = set()

    def run(self, inputs: int) -> Outcome:
        """Run ``inputs`` inputs; the first ones are the seeds as they are."""
        began = time.monotonic()
        peak_before = _peak_rss()
        with tempfile.TemporaryDirectory(dir=_memory_folder()) as name:
            entry: Entry | None = None
            for number, raw in enumerate(self._inputs(inputs)):
                if number % self._target.fresh_after == 0 or entry is None:
                    folder = Path(name) / str(number)
                    folder.mkdir()
                    entry = self._target.open(folder)
                self._meet(entry, raw, traced=number % MEASURE_EVERY == 0)
                if number == min(100, inputs // 2):  # what is loaded once is loaded
                    peak_before = _peak_rss()
        growth = self.outcome.rss_growth_bytes = _peak_rss() - peak_before
        if growth > MAX_GROWTH_BYTES:
            self._find("memory", f"the process grew by {growth} bytes", b"")
        self.outcome.places = len(self._ends)
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _inputs(self, count: int) -> Iterator[bytes]:
        yield from self._target.seeds[:count]
        for _ in range(count - len(self._target.seeds)):
            yield self._next()[: self._target.max_bytes]

    def _next(self) -> bytes:
        rng, target = self._rng, self._target
        if target.generate is not None and rng.random() < 0.3:
            return target.generate(rng)
        if rng.random() < 0.01:
            return rng.randbytes(rng.choice((0, 1, 8, 100)))
        raw = rng.choice(target.seeds if rng.random() < 0.5 else self._corpus)
        for _ in range(rng.choice(_MOST_MUTATIONS)):
            if rng.random() < 0.7:
                raw = target.shape.mutated(raw, rng=rng)
            else:
                raw = mutated(raw, rng=rng, others=self._corpus)
        return raw

    def _meet(self, entry: Entry, raw: bytes, *, traced: bool) -> None:
        outcome = self.outcome
        outcome.inputs += 1
        if traced:
            tracemalloc.start()
        began = time.process_time()
        try:
            ended = entry(raw)
        except self._target.typed as error:
            outcome.refusals[type(error).__name__] += 1
            self._keep(raw, _end_of(error))
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            outcome.refusals[type(error).__name__] += 1
            kind, file, line = _end_of(error)
            place = f"{file}:{line}"
            self._find(kind, f"{place}: {error!s:.200}", raw, place=place)
        else:
            outcome.accepted += 1
            self._keep(raw, ("", ended if isinstance(ended, str) else "", 0))
        seconds = time.process_time() - began
        if traced:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            self._weigh(peak, raw)
        outcome.slowest_s = max(outcome.slowest_s, seconds)
        if seconds > self._slow_s:
            self._find("slow", f"{seconds:.1f} s for {len(raw)} bytes", raw)

    def _weigh(self, peak: int, raw: bytes) -> None:
        target = self._target
        self.outcome.peak_bytes = max(self.outcome.peak_bytes, peak)
        most = target.bytes_each * len(raw) + target.bytes_more
        if peak > most:
            detail = f"{peak} bytes for {len(raw)}, at most {most}"
            self._find("memory", detail, raw)

    def _keep(self, raw: bytes, end: tuple[str, str, int]) -> None:
        """Keep an input that ended where none has."""
        if end not in self._ends:
            self._ends.add(end)
            if len(self._corpus) < MAX_CORPUS:
                self._corpus.append(raw)

    def _find(self, kind: str, detail: str, raw: bytes, *, place: str = "") -> None:
        """Note a defect, once for each kind and place."""
        known = (kind, place) in self._found
        if not known and len(self.outcome.findings) < MAX_FINDINGS:
            self._found.add((kind, place))
            shown = raw[:MAX_SHOWN_BYTES].hex()
            self.outcome.findings.append(Finding(kind, detail, shown))


def bounded() -> None:
    """Let this process allocate ``ROOM_BYTES`` more than it has, and no more."""
    status = Path("/proc/self/statm").read_text(encoding="ascii")
    taken = int(status.split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM_BYTES, resource.RLIM_INFINITY))


def _end_of(error: Exception) -> tuple[str, str, int]:
    """Return the exception's name, and file and line that raised it, or its cause."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    trace = cause.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return (
        type(error).__name__,
        Path(trace.tb_frame.f_code.co_filename).name,
        trace.tb_lineno,
    )


def _memory_folder() -> str | None:
    """Return a folder in memory: the disk would take most of the time."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


def _peak_rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
