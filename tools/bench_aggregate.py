"""What a merge costs: time per update beside the peer's FedAvg, and peak memory.

    make bench-aggregate
    make bench-aggregate ARGS='--clients 30 --values 1000000 --json'

The peer is Flower (``flwr``), in an environment of its own, ``.venv-peer``, made at the
first run. All rows are of one run, turn by turn: CPU time, one process a side, medians.
Ours are ``guarded_mean`` on the frames as they are stored: header, decoding with all
its checks, clipping, weighted sum, and the comparison of every update with the mean.
The peer's begin with its replies in memory (``fedavg``), or with what it got off the
wire (``received``); see ``tools/peer_fedavg.py``.

Deltas have heavy tails (Student, 3 degrees): 18 % of them are not zero in ``uq``, as in
the delta of local training on digits, which ``uq trained`` repeats. ``kernel`` is the
arithmetic alone: int8 times scale, added up, in chunks of 65,536, 9 bytes a value; its
bandwidth is told as a part of memcpy's (bytes read and written). Memory is the peak of
a process that merges a round's updates from the store, over what it held before.
"""

import argparse
import json
import operator
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Final, get_args

import numpy as np
from numpy.typing import NDArray

from broker_server.clipping import norm_of
from broker_server.guard import guarded_mean
from broker_server.guard_settings import GuardMode, GuardSection
from broker_server.stored_cohort import Contribution
from tools.bench_codec import trained_delta
from tools.merge_memory import measured_peak, update_frame
from tools.peer_environment import ROOT, peer_python
from wire_protocol.codecs import BLOCK
from wire_protocol.params import Vector
from wire_protocol.uniform_quantizer import CHUNK

PEER: Final = "flwr==1.41.0"
_REPEATS: Final = 21


@dataclass(frozen=True, slots=True)
class Row:
    """One way to merge: CPU milliseconds for each update, and how many ``fedavg``.

    Both are medians: of all turns, and of what every turn says beside its ``fedavg``.
    """

    name: str
    ms: float
    times_peer: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured; memory in MiB above idle, by codec."""

    clients: int
    values: int
    peer: str
    rows: tuple[Row, ...]
    kernel_gb_s: float
    memcpy_gb_s: float
    peak_mib: dict[str, float]


@contextmanager
def peer(deltas: NDArray[np.float32]) -> Iterator[Callable[[str], float]]:
    """Start the peer; yield what measures it: CPU milliseconds for each update."""
    python = peer_python(PEER)
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, deltas)
        file.flush()
        with subprocess.Popen(
            [python, ROOT / "tools/peer_fedavg.py", file.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            to, out = process.stdin, process.stdout
            assert to is not None
            assert out is not None
            _line(out)

            def measure(name: str) -> float:
                to.write(name + "\n")
                to.flush()
                return float(_line(out))

            yield measure
            to.close()


def _line(out: IO[str]) -> str:
    line = out.readline()
    if not line:
        sys.exit("bench_aggregate: the peer ended; its last words are above")
    return line


def ours(deltas: NDArray[np.float32]) -> dict[str, Callable[[], object]]:
    """Return our ways to merge ``deltas``, float32 ``[clients, values]``."""
    clients, values = deltas.shape
    trained = np.resize(trained_delta(), values)
    work: dict[str, Callable[[], object]] = {}
    for name, codec in (
        ("f32", "f32"),
        ("int8", "int8"),
        ("uq", "uq"),
        ("uq trained", "uq"),
    ):
        drawn = trained if name == "uq trained" else None
        contributions = [
            _contribution(
                deltas[number] if drawn is None else np.roll(drawn, number),
                codec=codec,
                number=number,
            )
            for number in range(clients)
        ]
        work[name] = _merge(contributions, values, GuardSection())
        if name == "int8":
            for mode in get_args(GuardMode)[1:]:
                guard = GuardSection(mode=mode)
                work[f"int8 {mode}"] = _merge(contributions, values, guard)
    return work


def _contribution(delta: Vector, *, codec: str, number: int) -> Contribution:
    stored = update_frame(delta, codec=codec, examples=100 + number)
    return Contribution(f"device-{number}", stored, norm=norm_of(delta))


def _merge(
    contributions: Sequence[Contribution], size: int, guard: GuardSection
) -> Callable[[], object]:
    return lambda: guarded_mean(contributions, size=size, guard=guard)


def kernel(size: int) -> Callable[[], object]:
    """Return the arithmetic of one int8 update, and nothing else."""
    rng = np.random.default_rng(0)
    size -= size % BLOCK
    levels = rng.integers(-127, 127, size, np.int8)
    scales = rng.random((size // BLOCK, 1), np.float32)
    total = np.zeros(size, np.float32)
    scratch = np.empty(CHUNK, np.float32)

    def work() -> None:
        for start in range(0, size, CHUNK):
            part = levels[start : start + CHUNK]
            row = scratch[: part.size]
            row[:] = part
            blocks = row.reshape(-1, BLOCK)
            blocks *= scales[start // BLOCK : (start + part.size) // BLOCK]
            total[start : start + CHUNK] += row

    return work


def timed(
    ours_by_name: Mapping[str, Callable[[], object]],
    measure_peer: Callable[[str], float],
    *,
    clients: int,
) -> tuple[Row, ...]:
    """Return a row for every way to merge, taken turn by turn."""
    taken: dict[str, list[float]] = {}
    for _ in range(_REPEATS):
        for name in ("fedavg", "received"):
            taken.setdefault(name, []).append(measure_peer(name))
        for name, work in ours_by_name.items():
            taken.setdefault(name, []).append(_cpu_ms(work) / clients)
    return tuple(
        Row(
            name,
            statistics.median(times),
            statistics.median(map(operator.truediv, times, taken["fedavg"])),
        )
        for name, times in taken.items()
    )


def bandwidths(values: int) -> tuple[float, float]:
    """Return GB/s of the kernel and of memcpy, taken turn by turn."""
    source = np.ones(values, np.float32)
    target = np.zeros(values, np.float32)
    work = kernel(values)
    kernels, copies = [], []
    for _ in range(10 * _REPEATS):
        kernels.append(_wall_s(work))
        copies.append(_wall_s(lambda: np.copyto(target, source)))
    return (
        9 * values / statistics.median(kernels) / 1e9,
        8 * values / statistics.median(copies) / 1e9,
    )


def _cpu_ms(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


def _wall_s(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def heavy_tailed(clients: int, values: int) -> NDArray[np.float32]:
    """Return deltas of ``clients``, float32 ``[clients, values]``."""
    drawn = np.empty((clients, values), np.float32)
    for number, row in enumerate(drawn):
        row[:] = np.random.default_rng(number).standard_t(3, values)
    drawn *= np.float32(0.01)
    return drawn


def measure(clients: int, values: int) -> Figures:
    """Return everything there is to print."""
    deltas = heavy_tailed(clients, values)
    with peer(deltas) as measure_peer:
        rows = timed(ours(deltas), measure_peer, clients=clients)
    del deltas
    kernel_rate, copy_rate = bandwidths(values)
    return Figures(
        clients=clients,
        values=values,
        peer=PEER,
        rows=rows,
        kernel_gb_s=kernel_rate,
        memcpy_gb_s=copy_rate,
        peak_mib={
            codec: measured_peak(codec, clients=clients, values=values)
            for codec in ("uq", "int8", "f32")
        }
        | {
            f"int8 {mode}": measured_peak(
                "int8", clients=clients, values=values, mode=mode
            )
            for mode in get_args(GuardMode)[1:]
        },
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench_aggregate", description=__doc__)
    parser.add_argument("--clients", type=int, default=30)
    parser.add_argument("--values", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    figures = measure(args.clients, args.values)
    if args.json:
        print(json.dumps(asdict(figures), indent=2))
        return 0
    print(f"{figures.clients} updates of {figures.values} values; peer {figures.peer}")
    print("CPU time per update       ms   x fedavg")
    for row in figures.rows:
        print(f"  {row.name:<20} {row.ms:7.2f}    {row.times_peer:7.2f}")
    part = figures.kernel_gb_s / figures.memcpy_gb_s
    print(
        f"int8 kernel {figures.kernel_gb_s:.1f} GB/s, {part:.2f} of memcpy's "
        f"{figures.memcpy_gb_s:.1f}"
    )
    for codec, mib in figures.peak_mib.items():
        print(f"merge from the store, {codec}: peak {mib:.1f} MiB above idle")
    return 0


if __name__ == "__main__":
    sys.exit(main())
