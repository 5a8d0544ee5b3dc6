"""The table of qualities: what every experiment gave, over its seeds. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from model_zoo.metrics import Metric
from model_zoo.recipe import Recipe
from tools.quality.cells import KINDS, Cell, Kind, Outcome


@dataclass(frozen=True, slots=True)
class Summary:
    """One experiment.

    Attributes:
        model: Its name.
        experiment: Its name in the recipe.
        recipe: Its settings.
        metric: What was measured.
        outcomes: By kind, one for each seed that is done.
    """

    model: str
    experiment: str
    recipe: Recipe
    metric: Metric
    outcomes: Mapping[Kind, tuple[Outcome, ...]]

    @classmethod
    def of(
        cls,
        name: tuple[str, str],
        recipe: Recipe,
        *,
        metric: Metric,
        results: Mapping[str, Outcome],
        seeds: int,
    ) -> Self:
        """Gather the outcomes of the experiment ``name``, a model's and its own."""
        model, experiment = name
        outcomes: dict[Kind, tuple[Outcome, ...]] = {}
        for kind in KINDS:
            keys = [Cell(model, experiment, seed, kind).key for seed in range(seeds)]
            outcomes[kind] = tuple(results[key] for key in keys if key in results)
        return cls(model, experiment, recipe, metric, outcomes)

    def qualities(self, kind: Kind) -> list[float]:
        """Return a quality for each seed."""
        return [outcome.quality for outcome in self.outcomes[kind]]

    @property
    def complete(self) -> bool:
        """Whether every kind has an outcome of every seed."""
        counts = {len(self.outcomes[kind]) for kind in KINDS}
        return len(counts) == 1 and counts != {0}

    @property
    def verdict(self) -> str:
        """Whether every seed reached the target."""
        found, target = self.qualities("federated"), self.recipe.target
        if target is None or not found:
            return ""
        missed = [value for value in found if not self.metric.reaches(value, target)]
        sign = ">=" if self.metric.better == "higher" else "<="
        return f"{sign} {target:g} " + ("MISSED" if missed else "met")

    @property
    def met(self) -> bool:
        """Whether no target was missed."""
        return not self.verdict.endswith("MISSED")


def lines(summaries: Sequence[Summary]) -> Iterator[str]:
    """Yield the table's lines, and after them what has to be known to read it."""
    row = "{:<28} {:<20} {:<24} {:>6} {:>9} {:>9}  {}"
    yield row.format(
        "model / experiment",
        "metric",
        "federated: median, range",
        "rounds",
        "central",
        "alone",
        "target",
    )
    for one in summaries:
        alone = f"{_middle(one.qualities('local'))}{_mark(one)}"
        yield row.format(
            f"{one.model} / {one.experiment}",
            one.metric.name,
            spread(one.qualities("federated")),
            one.recipe.rounds,
            _middle(one.qualities("central")),
            alone,
            one.verdict,
        )
    for one in summaries:
        if _mark(one):
            outcomes = one.outcomes["local"]
            yield (
                f"* {one.model} / {one.experiment}: alone is the mean over "
                f"{len(outcomes[0].alone)} of {outcomes[0].devices} devices"
            )


def spread(values: Sequence[float]) -> str:
    """Return the median and the range, such as ``0.897 (0.878-0.900)``."""
    if not values:
        return "-"
    return f"{median(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def _middle(values: Sequence[float]) -> str:
    return f"{median(values):.3f}" if values else "-"


def _mark(one: Summary) -> str:
    sampled = any(len(o.alone) < o.devices for o in one.outcomes["local"])
    return "*" if sampled else ""
