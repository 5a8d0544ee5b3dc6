"""What ``rounds.step`` asks of its shell. Every effect may happen twice.

This module is pure.
"""

from dataclasses import dataclass
from typing import TypeAlias

from broker_server.records import Cause, Mode, Pending, Update
from wire_protocol.errors import Reason


@dataclass(frozen=True, slots=True)
class Offer:
    """Write the round down, invite the cohort, and set the deadline's timer."""

    round: int
    cohort: frozenset[str]
    goal: int
    minimum: int
    mode: Mode = "sync"


@dataclass(frozen=True, slots=True)
class Keep:
    """Journal the update; always comes before its ``Acknowledge``."""

    update: Update


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Send the receipt of an update."""

    round: int
    device: str
    transfer: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Close:
    """Collect no more, and write down which updates the merge takes.

    Who is outstanding still works on an update: it will be a late one.
    """

    round: int
    taken: tuple[Pending, ...]
    outstanding: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge what was written down into a new version."""

    round: int


@dataclass(frozen=True, slots=True)
class Announce:
    """Say that the round is over: it is merged."""

    round: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Close the round: it failed. Its updates stay pending."""

    round: int
    cause: Cause
    outstanding: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Close the round: the updates ``taken`` make no finite model and never count."""

    round: int
    taken: tuple[Pending, ...]


Effect: TypeAlias = (
    Offer | Keep | Acknowledge | Close | Merge | Announce | Withdraw | GiveUp
)
