"""Cells: one thing to measure each, and what came out of it. This module is pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self, TypeAlias, get_args

from model_zoo.recipe import Recipe
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import Manifest

Kind: TypeAlias = Literal["federated", "central", "local"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_FEDERATED: Final = frozenset(
    {
        *("rounds", "epochs", "cohort", "mu", "optimizer", "beta", "codec"),
        *("server_learning_rate", "downlink"),
    }
)
_LOCAL: Final = frozenset({"local_epochs", "local_devices"})
_CENTRAL: Final = frozenset({"central_epochs"})
_IRRELEVANT: Final[Mapping[Kind, frozenset[str]]] = {
    "federated": _CENTRAL | _LOCAL,
    "central": _FEDERATED | _LOCAL,
    "local": _FEDERATED | _CENTRAL,
}
_WORDS_ONLY: Final = frozenset({"target", "chosen"})


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One run: a model, an experiment of its recipe, a seed, and how it is trained."""

    model: str
    experiment: str
    seed: int
    kind: Kind

    @property
    def key(self) -> str:
        """Name of the cell in a file of results."""
        return f"{self.model}/{self.experiment}/{self.seed}/{self.kind}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cell gave.

    Attributes:
        quality: Of the last model; of ``local``, the mean over devices.
        curve: Rounds and qualities on the way, federated only.
        alone: Quality of every device's own model, local only.
        bits_up: Bits of update frames for each parameter, device and round.
        devices: In the federation.
        training_examples: Of all of them together.
        test_examples: That judged.
        parameters: Of the model.
        seconds: What it took, of one CPU.
        fingerprint: Of everything that decides the quality.
    """

    quality: float
    curve: tuple[tuple[int, float], ...]
    alone: tuple[float, ...]
    bits_up: float
    devices: int
    training_examples: int
    test_examples: int
    parameters: int
    seconds: float
    fingerprint: str

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Read what ``asdict`` wrote.

        Raises:
            ConfigError: It is something else.
        """
        try:
            return cls(
                quality=float(plain["quality"]),
                curve=tuple((int(at), float(value)) for at, value in plain["curve"]),
                alone=tuple(float(value) for value in plain["alone"]),
                bits_up=float(plain["bits_up"]),
                devices=int(plain["devices"]),
                training_examples=int(plain["training_examples"]),
                test_examples=int(plain["test_examples"]),
                parameters=int(plain["parameters"]),
                seconds=float(plain["seconds"]),
                fingerprint=str(plain["fingerprint"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"not a result: {error!r:.200}") from error


def fingerprint(kind: Kind, recipe: Recipe, manifest: Manifest) -> str:
    """Return a digest of what decides what a cell gives, but for data and code.

    Of the model that is what its self-test expects, to six digits: another definition
    gives other losses, another way to compute the same ones does not.
    """
    ignored = _IRRELEVANT[kind] | _WORDS_ONLY
    settings = {
        name: value for name, value in asdict(recipe).items() if name not in ignored
    }
    test = manifest.selftest
    expected = [f"{value:.6g}" for value in (*test.losses, *test.norms, test.eval_loss)]
    text = json.dumps([settings, expected, manifest.layout.digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def wanted_cells(
    recipes: Mapping[str, Mapping[str, Recipe]], *, seeds: int, only: Sequence[str]
) -> list[Cell]:
    """Return the cells of all experiments, or of those that ``only`` names.

    Args:
        recipes: Experiments by model, then by name.
        seeds: How many; they are 0, 1, ...
        only: Models, ``model/experiment``, ``model/experiment/seed``, or whole keys;
            empty: everything.

    Raises:
        ConfigError: One of ``only`` names nothing.
    """
    cells = [
        Cell(model, experiment, seed, kind)
        for model, experiments in recipes.items()
        for experiment in experiments
        for kind in KINDS
        for seed in range(seeds)
    ]
    unknown = [name for name in only if not any(_named(cell, name) for cell in cells)]
    if unknown:
        raise ConfigError(
            f"--only {unknown[0]} names no experiment",
            remedy=f"name one of {', '.join(recipes)}",
        )
    return [c for c in cells if not only or any(_named(c, name) for name in only)]


def _named(cell: Cell, name: str) -> bool:
    return f"{cell.key}/".startswith(f"{name}/")


def missing_cells(
    cells: Iterable[Cell],
    results: Mapping[str, Outcome],
    fingerprints: Mapping[Cell, str],
) -> list[Cell]:
    """Return those cells that have no result, or one of other settings."""
    return [
        cell
        for cell in cells
        if cell.key not in results
        or results[cell.key].fingerprint != fingerprints[cell]
    ]
