"""Fuzz every parser of foreign bytes.

    make fuzz                              # some minutes; 51,000 inputs a target
    make fuzz ARGS='--jobs 2 --record'     # and write docs/fuzzing.md
    make fuzz ARGS='--target "codec uq" --inputs 1000000'
    make fuzz ARGS='--engine atheris --target manifest'

Ends with 1 if it found a defect: an exception no parser documents, or an input that
took too much memory or time.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.fuzz import record, runs, with_atheris
from tools.fuzz.campaign import Outcome
from tools.fuzz.targets import TARGETS, target_named
from wire_protocol.errors import EdgefedError

DOCUMENT: Final = Path(__file__).parents[2] / "docs/fuzzing.md"
INPUTS: Final = 51_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and record."""
    parser = argparse.ArgumentParser(
        prog="fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--inputs", type=int, default=INPUTS, help="for share 1")
    parser.add_argument("--target", action="append", help="only this; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--engine", choices=("own", "atheris"), default="own")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="write docs/fuzzing.md")
    args = parser.parse_args(argv)
    if args.record and (args.target or args.engine != "own"):
        parser.error("--record is of all targets, and of our own engine")
    try:
        names = args.target or [one.name for one in TARGETS]
        targets = [target_named(name) for name in names]
        if args.engine == "atheris":
            return with_atheris.run_all(targets, inputs=args.inputs, seed=args.seed)
    except EdgefedError as error:
        sys.stderr.write(f"fuzz: {error}\n")
        return error.exit_code
    began = time.monotonic()
    outcomes = runs.run_all(
        runs.slices(targets, inputs=args.inputs, seed=args.seed),
        jobs=args.jobs,
        tell=lambda line: print(line, file=sys.stderr),
    )
    run = record.plain(outcomes, seconds=time.monotonic() - began, seed=args.seed)
    print(json.dumps(run, indent=2) if args.json else record.table(run))
    _tell_findings(outcomes)
    if args.record:
        document = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(record.recorded(document, run), encoding="utf-8")
    return 1 if run["findings"] else 0


def _tell_findings(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        for one in outcome.findings:
            sys.stderr.write(
                f"{outcome.target}: {one.kind}: {one.detail}\n  input {one.input}\n"
            )


if __name__ == "__main__":
    sys.exit(main())
