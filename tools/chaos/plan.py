"""What a chaos run does, decided before anything starts. This module is pure.

Randomness is given, so that a seed names one plan.
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Final

from tools.demo.plan import DemoPlan
from wire_protocol.errors import ConfigError

ALLOWANCE: Final = 0.03
"""How far under the undisturbed accuracy a disturbed one may end; docs/chaos.md."""
DAY_S: Final = 86_400.0
_SHORTEST_JUMP_S: Final = DAY_S
_LONGEST_JUMP_S: Final = 30 * 365 * DAY_S


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """What the user chose.

    Attributes:
        seed: Of the federation and of every fault.
        devices: Agents, alternating between the runtimes.
        rounds: At least so many are merged in every scenario.
        outage_s: How long the broker is away in ``broker-outage``.
        seconds: How long ``everything`` disturbs.
    """

    seed: int = 0
    devices: int = 4
    rounds: int = 6
    outage_s: float = 20.0
    seconds: float = 60.0

    def __post_init__(self) -> None:
        _check("seed", 0 <= self.seed < 2**32, "0 to 4294967295")
        _check("devices", 2 <= self.devices <= 50, "2 to 50")
        _check("rounds", 2 <= self.rounds <= 1000, "2 to 1000")
        _check("outage-s", 1.0 <= self.outage_s <= 3600.0, "1 to 3600")
        _check("seconds", 5.0 <= self.seconds <= 86_400.0, "5 to 86400")

    def federation(self, rounds: int) -> DemoPlan:
        """Return the federation that is disturbed.

        It learns slowly for digits, in many small steps, so that a round lasts about
        half a second and most of it is training, as on a device.
        """
        return DemoPlan(
            data="digits",
            model="digits-mlp",
            rounds=rounds,
            epochs=40,
            learning_rate=0.01,
            momentum=0.9,
            devices=self.devices,
            alpha=1.0,
            seed=self.seed,
            compare=False,
        )


def positions(rng: Random, count: int, *, rounds: int) -> tuple[float, ...]:
    """Draw ``count`` instants over a run, in rounds, in order.

    2.25 is a quarter of a round's time after version 2. None is in the last round,
    which might be over before the fault comes.
    """
    return tuple(sorted(rng.uniform(0.0, rounds - 1.0) for _ in range(count)))


def clock_jump_s(rng: Random) -> float:
    """Draw how far a clock is off: days to decades, early or late, all scales alike."""
    exponent = rng.uniform(math.log(_SHORTEST_JUMP_S), math.log(_LONGEST_JUMP_S))
    return rng.choice((-1.0, 1.0)) * math.exp(exponent)


def _check(option: str, holds: bool, expected: str) -> None:
    if not holds:
        raise ConfigError(
            f"--{option} must be {expected}", remedy="see edgefed chaos -h"
        )
