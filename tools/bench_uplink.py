"""What the default codec sends and what it costs in rounds, beside float32.

    make bench-uplink ARGS='--data digits'
    EDGEFED_DATA=... make bench-uplink ARGS='--data sp-sw-har --unseen --target 0.84'

For every seed the same federation runs twice, with ``uq`` and with ``f32`` both ways,
as real processes. Bits are for each parameter, device and round. ``update`` counts
update frames; ``sent`` and ``received`` all bytes on the devices' sockets.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from model_zoo import zoo
from model_zoo.data import catalog
from tools.demo.demo import Subject, run_demo, working_runtimes
from tools.demo.display import PlainDisplay
from tools.demo.outcome import DemoOutcome, rounds_to
from tools.demo.plan import DemoPlan

CODECS: Final = {"uq": ("uq", "uq:1"), "f32": ("f32", "f32")}
"""Uplink and downlink of the two federations."""


def figures(outcome: DemoOutcome, target: float) -> dict[str, object]:
    """Return what is compared."""
    return {
        "rounds_to_target": rounds_to(target, outcome.rounds, metric=outcome.metric),
        "quality": outcome.quality,
        "update_bits": outcome.uplink_bits_per_param,
        "model_bits": outcome.downlink_bits_per_param,
        "sent_bits": outcome.sent_bits_per_param,
        "received_bits": outcome.received_bits_per_param,
    }


async def measure(
    folder: Path, plan: DemoPlan, *, seeds: int, target: float
) -> list[dict[str, object]]:
    """Run every federation; a row each."""
    runtimes = await working_runtimes()
    rows: list[dict[str, object]] = []
    for seed in range(seeds):
        for name, (uplink, downlink) in CODECS.items():
            print(f"seed {seed}, {name}", file=sys.stderr)
            seeded = replace(plan, seed=seed, codec=uplink, downlink=downlink)
            outcome = await run_demo(
                seeded,
                Subject.load(seeded, environ=os.environ),
                folder=folder / f"{name}-{seed}",
                runtimes=runtimes,
                display=PlainDisplay(lambda text: print(text, file=sys.stderr)),
            )
            row = {"data": plan.data, "seed": seed, "codec": name}
            rows.append({**row, **figures(outcome, target)})
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench_uplink", description=__doc__)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--unseen", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--target", type=float, default=0.9)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    model = zoo.model(catalog.entry(args.data).default_model or "")
    plan = replace(DemoPlan.suited(args.data, model), unseen=args.unseen, compare=False)
    if args.rounds:
        plan = replace(plan, rounds=args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(
            measure(Path(folder), plan, seeds=args.seeds, target=args.target)
        )
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    print("data seed codec | rounds to target, quality | bits: update model sent recv")
    for row in rows:
        print(
            f"{row['data']} {row['seed']} {row['codec']} | {row['rounds_to_target']} "
            f"{row['quality']:.3f} | {row['update_bits']:.2f} {row['model_bits']:.2f} "
            f"{row['sent_bits']:.2f} {row['received_bits']:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
