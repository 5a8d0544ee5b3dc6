"""What attackers can do to a federation, with every mode of the guard and without it.

    make bench-robust
    make bench-robust ARGS='--only digits --defence mean --attack "sign flip"'
    EDGEFED_DATA=... make bench-robust ARGS='--jobs 2 --record'

A fifth of the devices attack, and know what the others send. Whatever is not the
attack is what server and agents run: local training, codec with error feedback (uq;
int8 for trimmed-mean and median), guard, reputations and quarantine, FedAvgM, the
quantized downlink. ``plain mean`` is the weighted mean with no guard, which a server
does not have. Runs that are over are kept in ``--out``; started again, it goes on where
it was. ``--record`` writes the tables into docs/robustness.md. Ends with 1 if the best
mode loses more than 3 points under an attack, or 1.5 without one, or if an honest
device was put in quarantine.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from tools.robustness.arena import Cell, Outcome, run_cell
from tools.robustness.attacks import ATTACKS
from tools.robustness.results import Results
from tools.robustness.table import Table, lines, recorded
from tools.robustness.tasks import DEFENCES, TASKS
from tools.workers import leave_with_parent
from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import EdgefedError

_DOCUMENT: Final = Path(__file__).parents[1] / "docs/robustness.md"
_ENVIRON: Final = ("EDGEFED_DATA", "XDG_CACHE_HOME", "HOME")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, and print the tables."""
    args = _parser().parse_args(argv)
    cells = [
        Cell(task, attack, defence, seed)
        for task in args.only or TASKS
        for seed in range(args.seeds or TASKS[task].seeds)
        for attack in args.attack or ATTACKS
        for defence in args.defence or DEFENCES
    ]
    cells.sort(key=lambda cell: cell.seed)  # so that all tables grow together
    try:
        results = Results(args.out)
        _run(cells, results, jobs=args.jobs)
        outcomes = {cell: done for cell in cells if (done := results.of(cell))}
        tables = [Table.of(task, outcomes) for task in args.only or TASKS]
        if args.json:
            print(json.dumps(_plain(outcomes, tables), indent=1))
        else:
            print("\n".join(lines(tables)))
        if args.record:
            text = recorded(_DOCUMENT.read_text(encoding="utf-8"), tables)
            write_atomically(_DOCUMENT, text.encode())
    except EdgefedError as error:
        print(f"bench_robust: {error}", file=sys.stderr)
        return error.exit_code
    return 0 if all(table.met for table in tables) else 1


def _run(cells: Sequence[Cell], results: Results, *, jobs: int) -> None:
    missing = [cell for cell in cells if results.of(cell) is None]
    done = len(cells) - len(missing)
    print(f"{done} of {len(cells)} runs are done", file=sys.stderr)
    if not missing:
        return
    # spawned: runtimes do not survive a fork
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=leave_with_parent
    ) as pool:
        running: dict[Future[Outcome], Cell] = {
            pool.submit(run_cell, cell, environ=_environ()): cell for cell in missing
        }
        try:
            for count, future in enumerate(as_completed(running), start=done + 1):
                cell, outcome = running[future], future.result()
                results.add(cell, outcome)
                print(
                    f"{count} of {len(cells)}: {cell.task}, {cell.attack}, "
                    f"{cell.defence}, seed {cell.seed}: {outcome.accuracy:.4f}, "
                    f"{outcome.caught} of {outcome.attackers} caught",
                    file=sys.stderr,
                    flush=True,
                )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _environ() -> dict[str, str]:
    return {name: os.environ[name] for name in _ENVIRON if name in os.environ}


def _plain(outcomes: dict[Cell, Outcome], tables: Sequence[Table]) -> object:
    return {
        "met": {table.task: table.met for table in tables},
        "best": {table.task: table.best for table in tables},
        "runs": [{**asdict(cell), **asdict(one)} for cell, one in outcomes.items()],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench_robust",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option, choices in (
        ("--only", TASKS),
        ("--attack", ATTACKS),
        ("--defence", DEFENCES),
    ):
        parser.add_argument(
            option, action="append", choices=list(choices), help="may be given again"
        )
    parser.add_argument("--seeds", type=int, default=0, help="how many (3 and 2)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/robust.json"),
        help="where results are kept",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--record", action="store_true", help="write docs/robustness.md"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
