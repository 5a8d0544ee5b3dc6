"""Do runtimes stay together when they train? Compared with numpy, and in pairs.

Runtimes round differently. A shallow network keeps such differences as small as they
are; a deep one amplifies them, and so does Adam, which follows the sign of a gradient
however small. Where runtimes differ by more than a plain limit, the network itself is
the judge: it is trained in numpy from its start and from starts that differ by a
rounding, and runtimes may differ as those do.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, islice
from typing import Final

import numpy as np

from model_zoo.model import Model
from model_zoo.runners import Runner, oracle
from model_zoo.stepping import Outcome, Settings, train
from model_zoo.verification.check import Check
from model_zoo.verification.learnable import learnable
from wire_protocol.errors import TrainingError
from wire_protocol.params import Vector

SHORT: Final = 10
"""Steps in which every runtime is compared with numpy."""

LIMIT: Final = 1e-4
"""Greatest difference of any parameter, where the network does not amplify more."""

FACTOR: Final = 4.0
"""How many times as far as a perturbed start a runtime may be."""

NUDGE: Final = 1e-7
"""Relative size of a perturbation: a unit in the last place of float32, or two."""

SEEDS: Final = (1, 2, 3, 4)
"""Of the perturbations; the farthest counts."""

_SETTINGS: Final = Settings(learning_rate=0.001, momentum=0.5, mu=0.01)
"""Slow enough that rounding stays rounding. An activation within rounding of a relu's
kink falls on either side; at the plan's rates that one gradient moves parameters by
1e-4, on a perturbed start just as between runtimes, and would hide a real fault.
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Race:
    """Training from one start, always with the same examples."""

    model: Model
    start: Vector

    def run(self, runner: Runner, steps: int) -> Outcome:
        """Train for so many steps."""
        model = self.model
        params = list(model.layout.split(self.start))
        batches = islice(learnable(model, seed=2), steps)
        return train(runner, params, batches=batches, settings=_SETTINGS.of(model))

    def nudged(self, seed: int) -> "Race":
        """Return the same from a start that differs by a rounding."""
        noise = np.random.default_rng(seed).standard_normal(self.start.shape)
        nudged = self.start * (1 + NUDGE * noise)
        return replace(self, start=nudged.astype(np.float32))


def agreement_checks(
    model: Model, runtimes: Mapping[str, Runner], *, steps: int, say: Say
) -> Iterator[Check]:
    """Train alike on numpy and every runtime and compare the parameters.

    Args:
        model: The definition.
        runtimes: By name; one that fails is a finding.
        steps: Of the longer run, in which runtimes are compared with each other.
        say: Takes what is being done, for people who wait.
    """
    race = Race(model, model.layout.initial(np.random.default_rng(0)))

    @functools.cache
    def allowed(count: int) -> float:
        say(f"numpy, {count} steps from {1 + len(SEEDS)} starts")
        return FACTOR * control(race, count)

    def compared(what: str, mine: Outcome, theirs: Outcome) -> Check:
        worst, count = apart(mine, theirs), len(mine.losses)
        detail = f"loss {mine.losses[0]:.3f} to {mine.losses[-1]:.3f}"
        if worst <= LIMIT:
            return Check(f"{what} after {count} steps", worst, LIMIT, detail)
        limit = max(LIMIT, allowed(count))
        detail += f"; limit {FACTOR:g} times the way of a start nudged by {NUDGE:g}"
        return Check(f"{what} after {count} steps", worst, limit, detail)

    say(f"numpy, {SHORT} steps")
    reference = race.run(oracle(model, dtype=np.float32), SHORT)
    outcomes: dict[str, Outcome] = {}
    for name, runner in runtimes.items():
        say(f"{name}, {SHORT} and {steps} steps")
        try:
            short = race.run(runner, SHORT)
            outcomes[name] = race.run(runner, steps)
        except TrainingError as error:
            yield Check(f"failures of {name}", 1, 0, error.problem)
            continue
        yield compared(f"{name} and numpy", short, reference)
    for (one, mine), (other, theirs) in combinations(outcomes.items(), 2):
        yield compared(f"{one} and {other}", mine, theirs)


def control(race: Race, steps: int) -> float:
    """Return how far starts that differ by a rounding lead, in numpy."""
    runner = oracle(race.model, dtype=np.float32)
    straight = race.run(runner, steps)
    ways = (race.nudged(seed).run(runner, steps) for seed in SEEDS)
    return max(apart(straight, way) for way in ways)


def apart(mine: Outcome, theirs: Outcome) -> float:
    """Return the greatest difference of any parameter."""
    pairs = zip(mine.params, theirs.params, strict=True)
    return max(float(np.max(np.abs(a - b))) for a, b in pairs)
