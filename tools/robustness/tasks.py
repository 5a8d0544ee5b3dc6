"""What is attacked: data, model and settings of each federation. This module is pure.

The settings are the recipes', but for what has to differ: enough devices that a fifth
of them are some, and no more rounds than it takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from broker_server.guard_settings import DENSE_ONLY, GuardMode, GuardSection
from model_zoo.recipe import Recipe

Defence: TypeAlias = Literal["plain mean"] | GuardMode
DEFENCES: Final[tuple[Defence, ...]] = ("plain mean", *get_args(GuardMode))
PART: Final = 0.2
"""Of the devices attack."""


@dataclass(frozen=True, slots=True)
class Task:
    """One federation."""

    model: str
    recipe: Recipe
    seeds: int


TASKS: Final[Mapping[str, Task]] = {
    "digits": Task(
        "digits-mlp",
        Recipe(
            data="digits",
            partition="dirichlet:0.3",
            devices=20,
            rounds=20,
            epochs=5,
            learning_rate=0.05,
            runtime="litert",
        ),
        seeds=3,
    ),
    "sp-sw-har": Task(
        "har-cnn1d",
        Recipe(
            data="sp-sw-har",
            judging="unseen",
            cohort=10,
            rounds=15,
            epochs=1,
            learning_rate=0.01,
            runtime="litert",
        ),
        seeds=2,
    ),
}


def guard_of(defence: Defence) -> GuardSection | None:
    """Return the guard's settings; None for the mean that nothing guards."""
    return None if defence == "plain mean" else GuardSection(mode=defence)


def codec_of(defence: Defence) -> str:
    """Return the codec that updates come in."""
    return "int8" if defence in DENSE_ONLY else "uq"
