"""What quantized inference saves and loses, for every model of the zoo.

    make bench-quantize
    make bench-quantize ARGS='--models har-cnn1d --epochs 5'
    make bench-quantize ARGS=--write

Each model is trained in one place, from a seed, on what devices hold; its files are
calibrated on 256 of these examples and judged on others: unseen people where the data
set has some, the hold-out elsewhere. Time is CPU time of one example, one thread, the
median of turns; it is this machine's. ``--write`` puts the table into docs/quantize.md.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from model_zoo import zoo
from model_zoo.data.catalog import load
from model_zoo.data.federation import Federation, federate
from model_zoo.model import Model
from model_zoo.quantize.building import quantize
from model_zoo.quantize.examples import calibration, judging
from model_zoo.quantize.record import File, Format, file_name
from model_zoo.runners import litert, single
from model_zoo.stepping import Settings, train
from tools.peer_environment import ROOT
from wire_protocol.params import Vector
from wire_protocol.selftest import Batch

FORMATS: Final[tuple[Format, ...]] = ("tflite-int8", "tflite-f16", "onnx-int8")
DOCUMENT: Final = ROOT / "docs/quantize.md"
BEGIN: Final = "<!-- make bench-quantize ARGS=--write -->"
END: Final = "<!-- end -->"
_HEAD: Final = (
    "| model | file | bytes | µs | judged by | float32 | this | lost | agrees "
    "| outputs within |\n|---|---|---:|---:|---|---:|---:|---:|---:|---:|"
)
_TURNS: Final = 9
_EXAMPLES: Final = 200


@dataclass(frozen=True, slots=True)
class Row:
    """A file, and the CPU microseconds of one example."""

    model: str
    file: File
    us: float

    def markdown(self) -> str:
        """Return a line of the table."""
        found = self.file.judgement
        assert found is not None
        cells = (
            self.model,
            f"`{file_name(self.file.format)}`",
            f"{self.file.ref.size:,}",
            f"{self.us:.0f}",
            found.metric,
            _number(found.reference, "{:.4f}"),
            _number(found.value, "{:.4f}"),
            _number(found.loss, "{:+.4f}"),
            _number(found.agreement, "{:.1%}"),
            f"{found.max_error:.2g}",
        )
        return f"| {' | '.join(cells)} |"


def trained(model: Model, federation: Federation, *, epochs: int, seed: int) -> Vector:
    """Train in one place on all that devices hold; return the parameters."""
    x = np.concatenate([shard.x for shard in federation.shards])
    targets = [shard.y for shard in federation.shards if shard.y is not None]
    y = np.concatenate(targets) if targets else np.zeros((len(x), 0), np.float32)
    rng = np.random.default_rng(seed)
    settings = Settings(model.plan.learning_rate, model.plan.momentum, seed=seed)
    outcome = train(
        litert(zoo.artifact_folder(model.name)),
        _starting(model, x, rng),
        batches=_batches(model, x, y, epochs=epochs, rng=rng),
        settings=settings.of(model),
    )
    return model.layout.join(outcome.params)


def _starting(model: Model, x: np.ndarray, rng: np.random.Generator) -> list[Vector]:
    """Draw parameters; statistics of features are those of ``x``."""
    vector = model.layout.initial(rng)
    channels = x.reshape(-1, x.shape[-1])
    tensors = model.layout.split(vector)
    for spec, tensor in zip(model.layout.specs, tensors, strict=True):
        if spec.init == "feature_mean":
            tensor[...] = channels.mean(0)
        if spec.init == "feature_scale":
            tensor[...] = 1 / np.maximum(channels.std(0), 1e-6)
    return tensors


def _batches(
    model: Model,
    x: np.ndarray,
    y: np.ndarray,
    *,
    epochs: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    ones = np.ones(model.batch, np.float32)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - model.batch + 1, model.batch):
            chosen = order[start : start + model.batch]
            yield Batch(x[chosen], y[chosen], ones)


def measure(name: str, *, epochs: int, seed: int, folder: Path) -> list[Row]:
    """Return a row for every file of the model."""
    model = zoo.model(name)
    dataset = load(model.data, seed=seed, environ=os.environ)
    federation = federate(dataset, seed=seed, unseen=bool(dataset.unseen.any()))
    judges = judging(model, model.data, seed=seed, environ=os.environ)
    record = quantize(
        model,
        trained(model, federation, epochs=epochs, seed=seed),
        calibration=calibration(
            model, model.data, count=256, seed=seed, environ=os.environ
        ),
        judging=judges,
        folder=folder,
        formats=FORMATS,
    )
    times = _times([folder / file_name(file.format) for file in record.files], judges.x)
    return [Row(name, file, us) for file, us in zip(record.files, times, strict=True)]


def _times(paths: Sequence[Path], x: np.ndarray) -> list[float]:
    runs = [single(path) for path in paths]
    taken: list[list[float]] = [[] for _ in paths]
    for _ in range(_TURNS):
        for run, mine in zip(runs, taken, strict=True):
            began = time.process_time()
            for number in range(_EXAMPLES):
                run(x[number % len(x)][np.newaxis])
            mine.append(1e6 * (time.process_time() - began) / _EXAMPLES)
    return [statistics.median(mine) for mine in taken]


def table(rows: Sequence[Row]) -> str:
    """Return the Markdown table."""
    return "\n".join([_HEAD, *(row.markdown() for row in rows)])


def with_table(document: str, text: str) -> str:
    """Return ``document`` with ``text`` between the marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench_quantize", description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(zoo.MODELS), metavar="NAME")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args(argv)
    rows: list[Row] = []
    for name in args.models:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(
                name, epochs=args.epochs, seed=args.seed, folder=Path(folder)
            )
        print(f"{name}: measured", file=sys.stderr)
    print(table(rows))
    if args.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(with_table(text, table(rows)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
