"""Attacks: what devices send that want the model to fail, or to gain without work.

Attackers know everything: what the honest devices of the round send, and the model's
last step. Sources: Li et al., "RSA" (AAAI 2019) for flipped signs; Xie et al., "Fall of
Empires" (UAI 2019) for inner products; Baruch et al., "A Little Is Enough" (NeurIPS
2019) for collusion; Lin et al., "Free-riders in Federated Learning" (2019). This module
is pure.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from wire_protocol.params import Vector

Attack: TypeAlias = Literal[
    "none",
    "sign flip",
    "scaling",
    "label flip",
    "noise",
    "inner product",
    "collusion",
    "free riders",
    "false claims",
]
ATTACKS: Final[tuple[Attack, ...]] = get_args(Attack)
WORDS: Final[dict[Attack, str]] = {
    "none": "no attacker",
    "sign flip": "the update it trained, times -4",
    "scaling": "the update it trained, times 10",
    "label flip": "an update trained on labels y' = classes - 1 - y",
    "noise": "Gaussian noise, five times as long as the median of the honest updates",
    "inner product": "-0.8 times the mean of the honest updates, all the same",
    "collusion": "mean minus standard deviation of the honest updates, all the same",
    "free riders": "the model's own last step with a little noise, or noise alone",
    "false claims": "as sign flip, and tells of a billion examples",
}
_CLAIM: Final = 10**9


@dataclass(frozen=True, slots=True)
class Sight:
    """What attackers see of a round.

    Attributes:
        honest: The deltas of its honest devices, ``[n, size]``.
        last_step: The server's step before, ``[size]``; zeros in the first round.
    """

    honest: Vector
    last_step: Vector

    @property
    def usual(self) -> float:
        """Median norm of the honest updates."""
        return float(np.median(np.linalg.norm(self.honest, axis=1)))


def attacked(
    attack: Attack, own: Vector, sight: Sight, *, index: int, rng: np.random.Generator
) -> Vector:
    """Return the delta that an attacker sends, float32 ``[size]``.

    Args:
        attack: Which.
        own: What it would have sent, had it been honest: ``[size]``.
        sight: What it sees.
        index: Its number among the attackers of the round.
        rng: Draws its noise.
    """
    match attack:
        case "none" | "label flip":
            return own
        case "sign flip" | "false claims":
            return (-4 * own).astype(np.float32)
        case "scaling":
            return (10 * own).astype(np.float32)
        case "noise":
            return _noise(own.size, 5 * sight.usual, rng)
        case "inner product":
            against: Vector = np.float32(-0.8) * sight.honest.mean(0)
            return against
        case "collusion":
            drift: Vector = sight.honest.mean(0) - sight.honest.std(0)
            return drift
        case "free riders":
            noise = _noise(own.size, 1e-4 * sight.usual, rng)
            return noise + sight.last_step if index % 2 else noise


def claimed(attack: Attack, num_examples: int) -> int:
    """Return how many examples an attacker tells that it has."""
    return _CLAIM if attack == "false claims" else num_examples


def _noise(size: int, norm: float, rng: np.random.Generator) -> Vector:
    drawn = rng.standard_normal(size)
    drawn *= norm / np.linalg.norm(drawn)
    return drawn.astype(np.float32)
