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
"""Steps in which every runtime is compared with numpy, at a low rate; the longer run
of runtimes alone is at the rate of the model's plan."""

LIMIT: Final = 1e-4
"""Greatest difference of any parameter, where the network does not amplify more."""

FACTOR: Final = 4.0
"""How many times as far as a perturbed start a runtime may be."""

NUDGE: Final = 1e-7
"""Relative size of a perturbation: a unit in the last place of float32, or two."""

SEEDS: Final = (1, 2, 3)
"""Of the perturbations; the farthest counts."""

_SLOW: Final = Settings(learning_rate=0.001, momentum=0.5, mu=0.01)
"""So slow in the short run that rounding stays rounding."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Race:
    """Training from one start, always with the same examples."""

    model: Model
    start: Vector
    settings: Settings

    def run(self, runner: Runner, steps: int) -> Outcome:
        """Train for so many steps."""
        params = list(self.model.layout.split(self.start))
        batches = islice(learnable(self.model, seed=2), steps)
        settings = self.settings.of(self.model)
        return train(runner, params, batches=batches, settings=settings)

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
    start = model.layout.initial(np.random.default_rng(0))
    plan = Settings(model.plan.learning_rate, model.plan.momentum, mu=_SLOW.mu)
    short, long = Race(model, start, _SLOW), Race(model, start, plan)

    @functools.cache
    def allowed(race: Race, count: int) -> float:
        say(f"numpy, {count} steps from {1 + len(SEEDS)} starts")
        return FACTOR * control(race, count)

    def compared(what: str, mine: Outcome, theirs: Outcome, *, race: Race) -> Check:
        worst, count = apart(mine, theirs), len(mine.losses)
        detail = f"loss {mine.losses[0]:.3f} to {mine.losses[-1]:.3f}"
        if worst <= LIMIT:
            return Check(f"{what} after {count} steps", worst, LIMIT, detail)
        limit = max(LIMIT, allowed(race, count))
        detail += f"; {FACTOR:g} times as far as a start nudged by {NUDGE:g} leads"
        return Check(f"{what} after {count} steps", worst, limit, detail)

    say(f"numpy, {SHORT} steps")
    reference = short.run(oracle(model, dtype=np.float32), SHORT)
    outcomes: dict[str, Outcome] = {}
    for name, runner in runtimes.items():
        say(f"{name}, {SHORT} and {steps} steps")
        try:
            first = short.run(runner, SHORT)
            outcomes[name] = long.run(runner, steps)
        except TrainingError as error:
            yield Check(f"failures of {name}", 1, 0, error.problem)
            continue
        yield compared(f"{name} and numpy", first, reference, race=short)
    for (one, mine), (other, theirs) in combinations(outcomes.items(), 2):
        yield compared(f"{one} and {other}", mine, theirs, race=long)


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
