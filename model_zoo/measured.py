"""What was measured of a model: the content of its ``measured.json``. Pure.

Written by ``make bench-quality ARGS=--record``, read by the card.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from model_zoo.recipe import Recipe
from wire_protocol.errors import ConfigError, EdgefedError
from wire_protocol.settings import read_settings

FILE: Final = "measured.json"
FORMAT: Final = 1
MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Quality:
    """One experiment, every list with a value for each seed.

    Attributes:
        recipe: The settings it ran with.
        federated: Quality after the last round.
        central: The same model trained on all examples in one place.
        local: Mean over models that devices trained alone.
        bits_up: Bits of update frames for each parameter, device and round.
        devices: In the federation.
        local_devices: How many of them were tried alone.
        training_examples: Of all devices together.
        test_examples: That judged.
    """

    recipe: Recipe
    federated: tuple[float, ...]
    central: tuple[float, ...]
    local: tuple[float, ...]
    bits_up: float
    devices: int
    local_devices: int
    training_examples: int
    test_examples: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak resident memory, in MiB, of a process on one runtime.

    Attributes:
        version: Of the runtime.
        floor_mib: After importing it.
        train_mib: After training steps.
        infer_mib: After inferences, a batch at a time.
    """

    version: str
    floor_mib: float
    train_mib: float
    infer_mib: float


@dataclass(frozen=True, slots=True)
class Measured:
    """All of it: qualities by experiment, memory by runtime."""

    quality: Mapping[str, Quality] = field(default_factory=dict)
    memory: Mapping[str, Memory] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the file's content."""
        plain = {"format": FORMAT, **asdict(self)}
        return json.dumps(plain, indent=1, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_json(cls, raw: bytes, *, source: str) -> Self:
        """Read it; ``source`` is what errors call it.

        Raises:
            ConfigError: It is something else.
        """
        remedy = "write it anew: make bench-quality ARGS=--record"
        if len(raw) > MAX_BYTES:
            raise ConfigError(f"{source} has {len(raw)} bytes", remedy=remedy)
        try:
            plain = json.loads(raw)
            if plain["format"] != FORMAT:
                raise ConfigError(f"format {FORMAT} is read here")
            return cls(
                {str(name): _quality(one) for name, one in plain["quality"].items()},
                {str(name): _memory(one) for name, one in plain["memory"].items()},
            )
        except EdgefedError as error:
            raise ConfigError(f"{source}: {error.problem}", remedy=remedy) from error
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise ConfigError(
                f"{source} holds no measurements: {error!r:.120}", remedy=remedy
            ) from error


def _quality(plain: Mapping[str, Any]) -> Quality:
    known = {key: value for key, value in plain["recipe"].items() if value is not None}
    return Quality(
        recipe=read_settings(Recipe, known, source="recipe"),
        federated=tuple(map(float, plain["federated"])),
        central=tuple(map(float, plain["central"])),
        local=tuple(map(float, plain["local"])),
        bits_up=float(plain["bits_up"]),
        devices=int(plain["devices"]),
        local_devices=int(plain["local_devices"]),
        training_examples=int(plain["training_examples"]),
        test_examples=int(plain["test_examples"]),
    )


def _memory(plain: Mapping[str, Any]) -> Memory:
    return Memory(
        version=str(plain["version"]),
        floor_mib=float(plain["floor_mib"]),
        train_mib=float(plain["train_mib"]),
        infer_mib=float(plain["infer_mib"]),
    )
