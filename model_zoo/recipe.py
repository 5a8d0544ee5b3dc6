"""Recipes: the settings of the experiments that measure a model (``recipe.toml``).

Each table of the file is one experiment. What it leaves out has the defaults below,
which are the server's own. An example::

    [unseen]
    data = "mnist-by-writer"
    judging = "unseen"
    cohort = 20
    rounds = 100
    epochs = 2
    learning_rate = 0.05
    target = 0.96
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from model_zoo.data.skew import partition_named
from wire_protocol.codecs import codec_named
from wire_protocol.errors import ConfigError, DecodeError
from wire_protocol.settings import read_settings

MAX_RECIPE_BYTES: Final = 64 * 1024
FILE: Final = "recipe.toml"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One experiment.

    Attributes:
        data: Name of the data set.
        rounds: Of the federation.
        epochs: Passes over a device's examples in a round.
        learning_rate: Of local training.
        judging: ``unseen``: on all examples of people who never train; ``held-out``:
            on examples that nobody trains on, of people who do.
        partition: How examples are spread, such as ``dirichlet:0.3``; empty: a device
            for each client, or by label skew where there are none.
        devices: How many; 0: one for each client, or 6.
        cohort: Devices drawn for a round; 0: all.
        momentum: Of local training; Adam's beta1.
        mu: FedProx's proximal weight.
        optimizer: Of the server.
        beta: Its momentum.
        server_learning_rate: Its learning rate.
        codec: Of updates.
        downlink: Of the model on its way down.
        central_epochs: Passes over all examples in one place.
        local_epochs: Passes of a device that trains alone.
        local_devices: How many of them are tried, drawn by the seed; 0: all.
        runtime: What trains; the one that was faster for this model.
        target: Quality the federation is to reach with every seed; None: no target.
        chosen: On what the settings were chosen, in words.
    """

    data: str
    rounds: int
    epochs: int
    learning_rate: float
    judging: Literal["unseen", "held-out"] = "held-out"
    partition: str = ""
    devices: int = 0
    cohort: int = 0
    momentum: float = 0.9
    mu: float = 0.0
    optimizer: Literal["fedavg", "fedavgm"] = "fedavgm"
    beta: float = 0.5
    server_learning_rate: float = 1.0
    codec: str = "uq"
    downlink: str = "uq:1"
    central_epochs: int = 20
    local_epochs: int = 20
    local_devices: int = 0
    runtime: Literal["onnxruntime", "litert", "tflite-runtime"] = "onnxruntime"
    target: float | None = None
    chosen: str = ""

    def __post_init__(self) -> None:
        for name in ("rounds", "epochs", "central_epochs", "local_epochs"):
            _check(name, 1 <= getattr(self, name) <= 100_000, "1 to 100000")
        for name in ("devices", "cohort", "local_devices"):
            _check(name, 0 <= getattr(self, name) <= 100_000, "0 to 100000")
        _check("learning_rate", 0.0 < self.learning_rate <= 10.0, "above 0, at most 10")
        _check("momentum", 0.0 <= self.momentum < 1.0, "at least 0, below 1")
        if self.partition:
            partition_named(self.partition)
        try:
            codec_named(self.codec)
            codec_named(self.downlink)
        except DecodeError as error:
            raise ConfigError(f"codec: {error.problem}", remedy="try uq") from error


def read_recipes(path: Path) -> Mapping[str, Recipe]:
    """Return the experiments in the file ``path`` by name, in its order.

    Raises:
        ConfigError: It is missing or no TOML, or an experiment is not right.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            remedy="write one; see docs/models.md",
        ) from error
    return parse_recipes(raw, source=str(path))


def parse_recipes(raw: bytes, *, source: str) -> Mapping[str, Recipe]:
    """Return the experiments in ``raw``; ``source`` is what errors call it.

    Raises:
        ConfigError: They are not right.
    """
    if len(raw) > MAX_RECIPE_BYTES:
        raise ConfigError(f"{source} has {len(raw)} bytes, expected a short TOML file")
    try:
        tables = tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{source} is not TOML: {error}", remedy="correct that line"
        ) from error
    if not tables:
        raise ConfigError(
            f"{source} has no experiment", remedy="add a table [held-out]"
        )
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(
                f"{source}: {name!r:.60} is outside of every table",
                remedy="put it below the name of its experiment, such as [held-out]",
            )
    return {
        name: read_settings(Recipe, table, source=f"{source}: [{name}]")
        for name, table in tables.items()
    }


def _check(key: str, holds: bool, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{key} must be {expected}", remedy="correct its value")
