"""What TLS and signatures cost: the same federation without, with one, with both.

    make bench-security                     # 10 agents, 20 rounds, 3 repetitions
    make bench-security ARGS='--data sp-sw-har --unseen --json'

Real processes on this machine. ``plain`` has no identities; in ``signed`` the server
signs what devices act on and devices their updates; ``tls`` is a fleet as it runs
across machines: signatures, TLS 1.3 with certificates on both sides, access control.
Overhead is a round's time, from offer to commit, less the longest training in it; the
first round, which brings the model, is told apart. Bytes are counted by the kernel on
the devices' sockets, from the first connection to the last word. The repetitions of the
three take turns, so that all meet the same machine.
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
from typing import Final, get_args

from model_zoo import zoo
from model_zoo.data import catalog
from tools.demo.demo import Subject, run_demo, working_runtimes
from tools.demo.display import PlainDisplay
from tools.demo.outcome import DemoOutcome
from tools.demo.plan import DemoPlan, Protection

PROTECTIONS: Final[tuple[Protection, ...]] = get_args(Protection)
NAMES: Final = {"none": "plain", "signed": "signed", "tls": "tls"}
Row = dict[str, float]


def figures(outcome: DemoOutcome) -> Row:
    """Return what is compared: seconds, and bytes for each device."""
    overheads = [entry.overhead_seconds for entry in outcome.rounds]
    devices = len(outcome.devices)
    return {
        "overhead_s_median": statistics.median(overheads[1:]),
        "first_round_s": overheads[0],
        "sent_bytes": sum(one.bytes_sent for one in outcome.devices) / devices,
        "received_bytes": sum(one.bytes_received for one in outcome.devices) / devices,
        "quality": outcome.quality,
    }


async def measure(folder: Path, plan: DemoPlan, *, times: int) -> dict[str, list[Row]]:
    """Run every federation ``times`` times; return their rows by name."""
    runtimes = await working_runtimes()
    subject = Subject.load(plan, environ=os.environ)
    rows: dict[str, list[Row]] = {NAMES[one]: [] for one in PROTECTIONS}
    for turn in range(times):
        for protection in PROTECTIONS:
            name = NAMES[protection]
            print(f"{turn + 1} of {times}, {name}", file=sys.stderr)
            outcome = await run_demo(
                replace(plan, protection=protection),
                subject,
                folder=folder / f"{name}-{turn}",
                runtimes=runtimes,
                display=PlainDisplay(lambda text: print(text, file=sys.stderr)),
            )
            rows[name].append(figures(outcome))
    return rows


def medians(rows: Sequence[Row]) -> Row:
    """Return the median of every figure."""
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench_security", description=__doc__)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--unseen", action="store_true")
    parser.add_argument("--devices", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    model = zoo.model(catalog.entry(args.data).default_model or "")
    plan = replace(
        DemoPlan.suited(args.data, model),
        devices=args.devices,
        rounds=args.rounds,
        unseen=args.unseen,
        compare=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(Path(folder), plan, times=args.times))
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    plain = medians(rows["plain"])
    print(f"{args.data}, {args.devices} devices, {args.rounds} rounds; medians of")
    print(f"{args.times}; bytes for each device over the whole run; in () times plain")
    print(
        f"{'':8}{'overhead ms':>18}{'first round ms':>18}{'sent':>18}{'received':>20}"
    )
    for name, turns in rows.items():
        found = medians(turns)
        cells = (
            ("overhead_s_median", 1000.0, 18),
            ("first_round_s", 1000.0, 18),
            ("sent_bytes", 1.0, 18),
            ("received_bytes", 1.0, 20),
        )
        line = "".join(
            f"{f'{found[key] * factor:.0f} ({found[key] / plain[key]:.2f})':>{width}}"
            for key, factor, width in cells
        )
        print(f"{name:8}{line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
