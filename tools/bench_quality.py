"""How good the zoo's models are: federated, central, and every device alone.

    make bench-quality
    make bench-quality ARGS='--only mnist-cnn --seeds 1'
    EDGEFED_DATA=... make bench-quality ARGS='--jobs 2 --record'

Settings come from each model's ``recipe.toml``. Every finished cell (model, experiment,
seed, way of training) is kept at once; started again, it goes on where it was. The
quality of a federation is that of its last round. ``--record`` writes what was measured
into the models' folders, for their cards.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from model_zoo import zoo
from model_zoo.metrics import METRICS
from model_zoo.recipe import FILE, Recipe, read_recipes
from tools.quality.cells import (
    Cell,
    Outcome,
    fingerprint,
    missing_cells,
    wanted_cells,
)
from tools.quality.experiment import run_cell
from tools.quality.recording import record
from tools.quality.results import Results
from tools.quality.summary import Summary, lines
from tools.workers import leave_with_parent
from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import EdgefedError

_ENVIRON: Final = ("EDGEFED_DATA", "XDG_CACHE_HOME", "HOME")
Recipes = Mapping[str, Mapping[str, Recipe]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, and print the table."""
    args = _parser().parse_args(argv)
    try:
        recipes = all_recipes()
        results = Results(args.out)
        cells = wanted_cells(recipes, seeds=args.seeds, only=args.only)
        _measure(cells, recipes, results=results, jobs=args.jobs)
        summaries = _summaries(cells, recipes, results=results(), seeds=args.seeds)
        print("\n".join(lines(summaries)))
        if args.record:
            for path in record(summaries, results, environ=_environ()):
                print(f"recorded: {path}")
    except EdgefedError as error:
        print(f"bench_quality: {error}", file=sys.stderr)
        return error.exit_code
    return 0 if all(summary.met for summary in summaries) else 1


def all_recipes() -> Recipes:
    """Return the experiments of every model that has a recipe."""
    paths = {name: zoo.model_folder(name) / FILE for name in zoo.MODELS}
    return {name: read_recipes(path) for name, path in paths.items() if path.is_file()}


def _measure(
    cells: Sequence[Cell], recipes: Recipes, *, results: Results, jobs: int
) -> None:
    def settings(cell: Cell) -> Recipe:
        return recipes[cell.model][cell.experiment]

    prints = {
        cell: fingerprint(cell.kind, settings(cell), zoo.manifest(cell.model))
        for cell in cells
    }
    missing = missing_cells(cells, results(), prints)
    print(
        f"{len(cells) - len(missing)} of {len(cells)} cells are done", file=sys.stderr
    )
    if not missing:
        return
    failures: list[EdgefedError] = []
    # spawned: runtimes do not survive a fork
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=leave_with_parent
    ) as pool:
        running: dict[Future[Outcome], Cell] = {
            pool.submit(_work, cell, settings(cell), results.params(cell)): cell
            for cell in missing
        }
        for count, future in enumerate(as_completed(running), start=1):
            cell = running[future]
            try:
                outcome = future.result()
            except EdgefedError as error:
                print(f"{cell.key} failed: {error}", file=sys.stderr)
                failures.append(error)
                continue
            results.add(cell, outcome)
            print(
                f"{count} of {len(missing)}: {cell.key} {outcome.quality:.4f} "
                f"in {outcome.seconds:.0f} s of CPU time",
                file=sys.stderr,
            )
    if failures:
        raise failures[0]


def _work(cell: Cell, recipe: Recipe, params: Path) -> Outcome:
    def tell(text: str) -> None:
        print(f"  {cell.key}: {text}", file=sys.stderr, flush=True)

    return run_cell(
        cell,
        recipe,
        environ=_environ(),
        clock=time.process_time,  # others may be busy here
        progress=tell,
        keep=lambda vector: write_atomically(params, vector.astype("<f4").tobytes()),
    )


def _environ() -> dict[str, str]:
    return {name: os.environ[name] for name in _ENVIRON if name in os.environ}


def _summaries(
    cells: Sequence[Cell],
    recipes: Recipes,
    *,
    results: Mapping[str, Outcome],
    seeds: int,
) -> list[Summary]:
    names = dict.fromkeys((cell.model, cell.experiment) for cell in cells)
    return [
        Summary.of(
            name,
            recipes[name[0]][name[1]],
            metric=METRICS[zoo.model(name[0]).task],
            results=results,
            seeds=seeds,
        )
        for name in names
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/quality"), help="where results are kept"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="MODEL[/EXPERIMENT[/SEED[/KIND]]]",
        help="measure this; may be given again",
    )
    parser.add_argument("--seeds", type=_positive, default=3, help="how many (3)")
    parser.add_argument("--jobs", type=_positive, default=1, help="processes (1)")
    parser.add_argument(
        "--record", action="store_true", help="write measured.json for the cards"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"1 or more, not {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
