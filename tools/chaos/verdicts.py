"""Verdicts: what must hold after a run, whatever was done to the federation."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from tools.chaos.books import Books, accuracies, read_books
from tools.chaos.ledger import balance
from tools.chaos.outcome import ScenarioOutcome
from tools.chaos.plan import ALLOWANCE, DAY_S
from tools.chaos.running import Run
from tools.chaos.scenarios import Scenario
from tools.chaos.staging import Staging
from wire_protocol.errors import EdgefedError
from wire_protocol.params import Vector

LEAST_ACCURACY: Final = 0.8
"""Of an undisturbed federation, or there is nothing to hold others against."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The undisturbed federation: accuracy by version, and what a round takes."""

    accuracies: Mapping[int, float]
    round_s: float

    def after(self, version: int) -> float:
        """Return its accuracy after as many rounds, or after its last."""
        return self.accuracies[min(version, max(self.accuracies))]


@dataclass(frozen=True, slots=True)
class Judged:
    """A scenario's outcome; and it as a reference, if it can be one."""

    outcome: ScenarioOutcome
    reference: Reference | None


def judged(
    run: Run,
    staging: Staging,
    scenario: Scenario,
    *,
    judge: Callable[[Vector], float],
    reference: Reference | None,
) -> Judged:
    """Read the books of a run, check what must hold, and return what was found."""
    problems = list(run.problems)
    state = staging.workspace.server_state
    try:
        books = read_books(state)
        judgements = accuracies(state, judge)
    except EdgefedError as error:
        problems.append(f"the server's books: {error}")
        books, judgements = Books((), (), ()), {}
    made = [version for version in books.versions if version > 0]
    if len(made) < staging.rounds:
        problems.append(f"{len(made)} of {staging.rounds} rounds were merged")
    idle = {device.name for device in staging.workspace.devices} - {
        entry.device for entry in books.entries
    }
    problems += [f"{name} never took part" for name in sorted(idle) if made]
    ledger = balance(books.entries, run.sightings.accepted, versions=made)
    problems += ledger.problems()
    last = max(judgements, default=0)
    accuracy = judgements.get(last)
    expected = reference.after(last) if reference else None
    problems += _accuracy_problems(accuracy, expected)
    outcome = ScenarioOutcome(
        name=scenario.name,
        verdict="passed",
        faults=tuple(run.faults),
        carried=run.carried,
        rounds=len(made),
        failed_rounds=sum(record.outcome == "failed" for record in books.rounds),
        seconds=run.seconds,
        accuracy=accuracy,
        reference=expected,
        ledger=ledger,
        refused=tuple(
            sorted((str(key), count) for key, count in run.sightings.others.items())
        ),
        folder=str(staging.workspace.folder),
    )
    if not problems and not _was_disturbed(scenario, outcome, books):
        problems.append("no fault struck, so nothing was proved")
    if problems:
        outcome = outcome.failed(problems)
    return Judged(outcome, _reference(books, judgements))


def _was_disturbed(scenario: Scenario, outcome: ScenarioOutcome, books: Books) -> bool:
    counts = outcome.fault_counts
    if "clock" in counts and not any(
        abs(record.started - time.time()) > DAY_S / 2 for record in books.rounds
    ):
        return False  # libfaketime was loaded, but did not work
    return bool(counts) or not scenario.strikes


def _accuracy_problems(accuracy: float | None, expected: float | None) -> list[str]:
    if accuracy is None:
        return []  # that there is no version has been said
    if expected is not None and accuracy < expected - ALLOWANCE:
        under = f"more than {ALLOWANCE:g} under the undisturbed {expected:.3f}"
        return [f"accuracy {accuracy:.3f} is {under}"]
    if accuracy < LEAST_ACCURACY:
        return [f"accuracy {accuracy:.3f} is under {LEAST_ACCURACY:g}"]
    return []


def _reference(books: Books, judgements: Mapping[int, float]) -> Reference | None:
    times = [
        record.seconds
        for record in books.rounds
        if record.outcome == "merged" and record.seconds is not None
    ]
    return Reference(judgements, median(times)) if times and judgements else None
