"""What a training step costs: every model on every runtime, beside torch and Keras.

    make bench-train
    make bench-train ARGS='--models har-cnn1d --json'

Ours are the trainers a device runs, on the artifacts that ship. The peers train twins
made of their own layers from the same definition, in ``.venv-peer``, made at the first
run (torch from PyPI brings gigabytes of CUDA along; an index of CPU wheels in
``PIP_EXTRA_INDEX_URL`` is taken instead). Every side must have as many parameters as
the definition, and start its first two steps from the losses of the numpy oracle.

All of one run and one machine: a process for each side, one thread, the model's own
batch, turn by turn; CPU milliseconds a step, medians over the turns. tflite-runtime has
the environment that ``edgefed zoo verify`` makes; where there can be none it is left
out.
"""

import argparse
import json
import operator
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from model_zoo import zoo
from model_zoo.verification import old_runtime
from tools.peer_environment import ROOT, peer_python
from tools.twins.timed_side import OURS, PEERS
from wire_protocol.errors import ConfigError

TORCH: Final = ("torch", "numpy")
KERAS: Final = ("tensorflow-cpu", "numpy")
_ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One side on one model; ``times_torch`` is the median over the turns."""

    model: str
    side: str
    version: str
    ms: float
    times_torch: float | None


@dataclass(frozen=True, slots=True)
class Side:
    """A running process."""

    name: str
    version: str
    process: subprocess.Popen[str]

    def measure(self) -> float:
        """Return the CPU milliseconds of a step."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(_line(self.process))


def pythons(sides: Sequence[str]) -> dict[str, Path]:
    """Return each side's interpreter; a side that cannot be had is left out."""
    found: dict[str, Path] = {}
    for side in sides:
        if side in PEERS:
            found[side] = peer_python(*(TORCH if side == "torch" else KERAS))
        elif side == "tflite-runtime":
            try:
                cache = old_runtime.cache_folder(os.environ)
                found[side] = old_runtime.environment(cache, say=_say)
            except ConfigError as error:
                _say(f"left out: {error}")
        else:
            found[side] = Path(sys.executable)
    return found


def _say(line: str) -> None:
    print(line, file=sys.stderr)


@contextmanager
def started(side: str, model: str, *, python: Path) -> Iterator[Side]:
    """Start a side; it has checked itself when this yields."""
    # TensorFlow talks on standard error whatever it is told
    quiet = side in {"Keras", "tf.function"}
    environ = {**os.environ, **_ONE_THREAD, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [python, "-m", "tools.twins.timed_side", side, model],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
        env=environ,
    ) as process:
        said = json.loads(_line(process))
        if said["problem"]:
            sys.exit(f"bench_train: {side} is no twin of {model}: {said['problem']}")
        yield Side(side, said["version"], process)
        assert process.stdin is not None
        process.stdin.close()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        sys.exit("bench_train: a side ended; its last words are above")
    return line


def measure(model: str, found: dict[str, Path], *, turns: int) -> list[Row]:
    """Return a row for every side, taken turn by turn."""
    with ExitStack() as stack:
        sides = [
            stack.enter_context(started(name, model, python=python))
            for name, python in found.items()
        ]
        taken: dict[str, list[float]] = {side.name: [] for side in sides}
        for _ in range(turns):
            for side in sides:
                taken[side.name].append(side.measure())
    return [
        Row(
            model,
            side.name,
            side.version,
            statistics.median(taken[side.name]),
            _ratio(taken[side.name], taken.get("torch")),
        )
        for side in sides
    ]


def _ratio(mine: list[float], torch: list[float] | None) -> float | None:
    if torch is None:
        return None
    return float(statistics.median(map(operator.truediv, mine, torch)))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    every = [*OURS, *PEERS]
    parser = argparse.ArgumentParser(prog="bench_train", description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(zoo.MODELS), metavar="NAME")
    parser.add_argument("--sides", nargs="+", default=every, choices=every)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    found = pythons(args.sides)
    rows: list[Row] = []
    if not args.json:
        print("CPU ms a step         " + "".join(f"{side:>17}" for side in found))
    for name in args.models:
        mine = measure(zoo.model(name).name, found, turns=args.turns)
        rows.extend(mine)
        if not args.json:
            print(f"{name:<22}" + "".join(f"{_cell(row):>17}" for row in mine))
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    return 0


def _cell(row: Row) -> str:
    times = "" if row.times_torch is None else f" {row.times_torch:5.2f} x"
    return f"{row.ms:.3f}{times}"


if __name__ == "__main__":
    sys.exit(main())
