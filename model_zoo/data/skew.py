"""How unlike devices are: a partition by name, and sensors that each read differently.

Experiments need federations that differ in a known way (Kairouz et al. 2021, 3.1):
in labels (``dirichlet:0.3``, ``shards:2``), in whose examples they are (``natural``),
in what their sensors make of the same thing (``shifted``), or not at all (``iid``).
This module is pure: randomness is an argument.

>>> partition_named("shards:2")
Shards(each=2)
>>> str(partition_named("dirichlet:0.30"))
'dirichlet:0.3'
"""

import math
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

import numpy as np

from model_zoo.data.dataset import Examples, Labels
from model_zoo.data.partition import Indices, check_alpha, dirichlet, iid, shards
from wire_protocol.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Iid:
    """Every device gets a random sample of equal size."""

    def __str__(self) -> str:
        return "iid"


@dataclass(frozen=True, slots=True)
class Dirichlet:
    """Each class is spread by Dirichlet(``alpha``); small is very unlike."""

    alpha: float

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    def __str__(self) -> str:
        return f"dirichlet:{self.alpha:g}"


@dataclass(frozen=True, slots=True)
class Shards:
    """Sorted by class, cut, and dealt: a device gets ``each`` cuts."""

    each: int

    def __post_init__(self) -> None:
        if not 1 <= self.each <= MAX_SHARDS:
            raise ConfigError(
                f"a device gets 1 to {MAX_SHARDS} shards, not {self.each}"
            )

    def __str__(self) -> str:
        return f"shards:{self.each}"


@dataclass(frozen=True, slots=True)
class Natural:
    """A person, a place or a machine keeps what is theirs."""

    def __str__(self) -> str:
        return "natural"


Partition: TypeAlias = Iid | Dirichlet | Shards | Natural

MAX_SHARDS: Final = 1000
MAX_SHIFT: Final = 3.0
_FORMS: Final = "iid, dirichlet:0.3, shards:2 or natural"


def partition_named(text: str) -> Partition:
    """Return the partition that ``text`` names.

    Raises:
        ConfigError: It names none, or its number is out of range.
    """
    kind, _, number = text.partition(":")
    try:
        match kind, number:
            case "iid", "":
                return Iid()
            case "natural", "":
                return Natural()
            case "dirichlet", _:
                return skewed(float(number))
            case "shards", _:
                return Shards(int(number))
    except ValueError:
        pass
    raise ConfigError(f"{text!r} is no partition", remedy=f"say {_FORMS}")


def skewed(alpha: float) -> Iid | Dirichlet:
    """Return the label skew of ``alpha``; of an infinite one there is none left."""
    return Iid() if alpha == math.inf else Dirichlet(alpha)


def divided(
    partition: Iid | Dirichlet | Shards,
    labels: Labels,
    *,
    devices: int,
    rng: np.random.Generator,
) -> list[Indices]:
    """Mix the examples of all and spread them over ``devices``.

    Raises:
        ConfigError: There are too few examples.
    """
    match partition:
        case Iid():
            return iid(len(labels), devices, rng=rng)
        case Dirichlet(alpha):
            return dirichlet(labels, devices, alpha=alpha, rng=rng)
        case Shards(each):
            return shards(labels, devices, each=each, rng=rng)
        case _:
            assert_never(partition)


def shifted(
    x: Examples, *, strength: float, spread: Examples, rng: np.random.Generator
) -> Examples:
    """Return ``x`` as one device's sensor reads it, channel by channel.

    The sensor has a gain ``exp(strength * a)``, an offset ``strength * b * spread`` and
    white noise of ``strength * |c| * spread / 4``, where ``a``, ``b`` and ``c`` are
    standard normal, drawn once for each channel (last axis) and then fixed.

    Args:
        x: Examples, ``[N, ..., channels]``.
        strength: 0 (returns ``x`` itself) to ``MAX_SHIFT``.
        spread: Standard deviation of each channel over all devices, ``[channels]``.
        rng: The device's own.

    Raises:
        ConfigError: ``strength`` is out of range.
    """
    if not 0.0 <= strength <= MAX_SHIFT:
        raise ConfigError(f"a shift is from 0 to {MAX_SHIFT:g}, not {strength:g}")
    if strength == 0.0:
        return x
    gain, offset, noise = strength * rng.standard_normal((3, x.shape[-1]))
    read = x * np.exp(gain) + offset * spread
    read += np.abs(noise) / 4 * spread * rng.standard_normal(x.shape)
    return np.asarray(read, np.float32)
