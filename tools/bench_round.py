"""What a round costs beyond training: real processes, digits, loopback.

    make bench-round            # 10 agents, 20 rounds
    make bench-round ARGS='--devices 10 --rounds 20 --json'

Overhead is a round's time, from offer to commit, less the longest training in it.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model_zoo import zoo
from tools.demo.demo import Subject, run_demo, working_runtimes
from tools.demo.display import PlainDisplay
from tools.demo.plan import DemoPlan


async def measure(folder: Path, *, devices: int, rounds: int) -> dict[str, object]:
    """Run a federation; return its rounds' times in seconds."""
    plan = replace(
        DemoPlan.suited("digits", zoo.model("digits-mlp")),
        devices=devices,
        rounds=rounds,
        compare=False,
    )
    outcome = await run_demo(
        plan,
        Subject.load(plan, environ=os.environ),
        folder=folder / "run",
        runtimes=await working_runtimes(),
        display=PlainDisplay(lambda text: print(text, file=sys.stderr)),
    )
    overheads = sorted(entry.overhead_seconds for entry in outcome.rounds)
    return {
        "devices": devices,
        "rounds": len(outcome.rounds),
        "overhead_s_median": statistics.median(overheads),
        "overhead_s_worst": overheads[-1],
        "round_s_median": statistics.median(e.seconds for e in outcome.rounds),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench_round", description=__doc__)
    parser.add_argument("--devices", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(
            measure(Path(folder), devices=args.devices, rounds=args.rounds)
        )
    if args.json:
        print(json.dumps(figures, indent=2))
    else:
        print(
            f"{figures['devices']} devices, {figures['rounds']} rounds: overhead "
            f"{1000 * float(str(figures['overhead_s_median'])):.0f} ms median, "
            f"{1000 * float(str(figures['overhead_s_worst'])):.0f} ms worst"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
