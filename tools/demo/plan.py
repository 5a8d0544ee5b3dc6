"""What a demo will run, decided before anything starts. This module is pure.

A preset gives the starting values, an option given by the user replaces one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, Self

from model_zoo.data.skew import MAX_SHIFT, partition_named
from model_zoo.model import Model
from wire_protocol.codecs import codec_named
from wire_protocol.errors import ConfigError, DecodeError

Preset = Literal["quick", "seed"]
Protection = Literal["none", "signed", "tls"]


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """A federation to run.

    Attributes:
        data: Name of the data set.
        model: Name of the zoo's model.
        rounds: At most this many.
        epochs: Local passes over a device's examples in a round.
        learning_rate: Of the local SGD.
        momentum: Of the local SGD.
        devices: How many; None is one for each natural client, or 6.
        fraction: Part of the devices invited to each round (C of K).
        mu: FedProx's proximal weight; 0 is off.
        codec: Uplink codec.
        downlink: Downlink codec.
        partition: How examples are spread, such as ``shards:2``; None: as suits them.
        alpha: Short for the partition ``dirichlet:<alpha>``.
        shift: How differently the devices' sensors read; 0 is alike.
        patience: Rounds without improvement after which to stop; 0 never stops early.
        seed: Of partition, start, cohorts and the order of examples.
        unseen: Judge on people who never train.
        compare: Also train every device alone, and all data centrally.
        protection: "tls" is what a fleet across machines has, "signed" is that without
            TLS (to measure what each costs), "none" a federation on one machine.
    """

    data: str
    model: str
    rounds: int
    epochs: int
    learning_rate: float
    momentum: float
    devices: int | None = None
    fraction: float = 1.0
    mu: float = 0.0
    codec: str = "uq"
    downlink: str = "uq:1"
    partition: str | None = None
    alpha: float | None = None
    shift: float = 0.0
    patience: int = 0
    seed: int = 0
    unseen: bool = False
    compare: bool = True
    protection: Protection = "none"

    @classmethod
    def suited(cls, data: str, model: Model) -> Self:
        """Return the plan that the zoo found to suit ``model``."""
        return cls(
            data=data,
            model=model.name,
            rounds=model.plan.rounds,
            epochs=model.plan.epochs,
            learning_rate=model.plan.learning_rate,
            momentum=model.plan.momentum,
        )

    def __post_init__(self) -> None:
        _check("devices", self.devices is None or 1 <= self.devices <= 500, "1 to 500")
        _check("rounds", 1 <= self.rounds <= 100_000, "1 to 100000")
        _check("fraction", 0.0 < self.fraction <= 1.0, "above 0, at most 1")
        _check("epochs", 1 <= self.epochs <= 1000, "1 to 1000")
        _check("learning-rate", 0.0 < self.learning_rate <= 10.0, "above 0, at most 10")
        _check("momentum", 0.0 <= self.momentum < 1.0, "at least 0, below 1")
        _check("mu", 0.0 <= self.mu <= 100.0, "0 to 100")
        _check("alpha", self.alpha is None or self.alpha > 0.0, "above 0")
        _check("shift", 0.0 <= self.shift <= MAX_SHIFT, f"0 to {MAX_SHIFT:g}")
        if self.partition is not None:
            partition_named(self.partition)
        _check("patience", self.patience >= 0, "0 or more")
        _check("seed", 0 <= self.seed < 2**32, "0 to 4294967295")
        try:
            codec_named(self.codec)
            codec_named(self.downlink)
        except DecodeError as error:
            raise ConfigError(
                f"--codec: {error.problem}", remedy="try uq, uq:4, int8, f16 or f32"
            ) from error


PRESETS: Final[Mapping[Preset, Mapping[str, object]]] = {
    "quick": {},
    # McMahan et al. 2017 as it is usually taught: C = 0.5 of 10, E = 10, lr = 0.01
    "seed": {
        "devices": 10,
        "rounds": 100,
        "fraction": 0.5,
        "epochs": 10,
        "learning_rate": 0.01,
        "momentum": 0.0,
        "patience": 10,
    },
}
"""Named starting points; an empty one is the defaults of model and data set."""


def chosen(
    defaults: DemoPlan, *, preset: Preset, options: Mapping[str, object]
) -> DemoPlan:
    """Return ``defaults`` with the preset's values, then the user's, put in."""
    given = {name: value for name, value in options.items() if value is not None}
    plan: DemoPlan = replace(defaults, **{**PRESETS[preset], **given})  # type: ignore[arg-type]
    return plan


def _check(option: str, holds: bool, expected: str) -> None:
    if not holds:
        raise ConfigError(
            f"--{option} must be {expected}", remedy="see edgefed demo -h"
        )
