"""What each codec takes and keeps: bits per value, error, time.

    make bench-codec

On a million normal values, and on a delta of local training: ``digits-mlp``, half of
the digits, five epochs. ``entropy`` is that of the quantized levels, the least that a
coder without context can take; error is the squared error relative to the vector's.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from edge_agent.examples import Examples
from edge_agent.runtimes import RUNTIMES
from edge_agent.trainers.trainer import open_trainer
from edge_agent.training import train
from model_zoo import zoo
from model_zoo.data.catalog import load
from wire_protocol.codecs import codec_named
from wire_protocol.messages import TrainingPlan
from wire_protocol.params import Vector

CODECS: Final = ("uq:1", "uq:2", "uq", "uq:4", "int8", "f16", "f32")
_REPEATS: Final = 7


def trained_delta() -> Vector:
    """Return trained - base of one device's local training on digits."""
    model = zoo.model("digits-mlp")
    manifest = zoo.manifest(model.name)
    data = load("digits", seed=0, environ={})
    base = manifest.layout.initial(np.random.default_rng(0))
    trainer = open_trainer(
        RUNTIMES["onnxruntime"].name,
        zoo.artifact_folder(model.name),
        manifest=manifest,
    )
    plan = TrainingPlan(
        epochs=model.plan.epochs,
        learning_rate=model.plan.learning_rate,
        momentum=model.plan.momentum,
        mu=0.0,
        evaluate=False,
        seed=0,
    )
    half = len(data) // 2
    trained = train(
        trainer,
        Examples(data.x[:half], data.y[:half]),
        base=base,
        plan=plan,
        batch=manifest.batch,
        seed=0,
    )
    return trained.params - base


def entropy_bits(vector: Vector, decoded: Vector) -> float | None:
    """Return the entropy of a quantized vector's levels; None if not quantized."""
    _, counts = np.unique(decoded, return_counts=True)
    if len(counts) > vector.size // 10:
        return None
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def measure(what: str, vector: Vector) -> list[dict[str, object]]:
    """Return a row for every codec."""
    rows: list[dict[str, object]] = []
    for name in CODECS:
        codec = codec_named(name)
        payload = codec.encode(vector)
        decoded = codec.decode(payload, vector.size)
        error = np.square(decoded - vector).sum() / np.square(vector).sum()
        rows.append(
            {
                "vector": what,
                "values": vector.size,
                "codec": name,
                "bits": 8 * len(payload) / vector.size,
                "entropy": entropy_bits(vector, decoded),
                "error": float(error),
                "encode_ms": _median_ms(lambda: codec.encode(vector)),  # noqa: B023
                "decode_ms": _median_ms(lambda: codec.decode(payload, vector.size)),  # noqa: B023
            }
        )
    return rows


def _median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench_codec", description=__doc__)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    normal = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
    rows = [*measure("normal", normal), *measure("digits delta", trained_delta())]
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    print("vector        values   codec  bits   entropy  error    encode  decode, ms")
    for row in rows:
        entropy = "" if row["entropy"] is None else f"{row['entropy']:.2f}"
        print(
            f"{row['vector']:<12} {row['values']:>8}   {row['codec']:<5} "
            f"{row['bits']:6.2f}  {entropy:>6}  {row['error']:.5f} "
            f"{row['encode_ms']:8.1f} {row['decode_ms']:7.1f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
