"""What happens to a round on the server: the events that ``rounds.step`` takes.

This module is pure.
"""

from dataclasses import dataclass
from typing import TypeAlias

from broker_server.records import Mode, Update
from broker_server.round_states import Collecting, Merging, Waiting


@dataclass(frozen=True, slots=True)
class Started:
    """A cohort was drawn; ``goal`` 0 means the whole cohort and what is carried."""

    round: int
    version: int
    cohort: frozenset[str]
    goal: int
    minimum: int
    mode: Mode = "sync"


@dataclass(frozen=True, slots=True)
class Resumed:
    """The store was read, after a start or after trouble: this is how things stand."""

    state: Waiting | Collecting | Merging


@dataclass(frozen=True, slots=True)
class Reported:
    """An update of the open round was checked and found good."""

    round: int
    device: str
    transfer: str
    update: Update


@dataclass(frozen=True, slots=True)
class LateReported:
    """A good update of a round that no longer collects; ``version`` is its base."""

    round: int
    device: str
    transfer: str
    version: int
    update: Update


@dataclass(frozen=True, slots=True)
class Joined:
    """Devices became free while a buffered round is open."""

    round: int
    devices: frozenset[str]


@dataclass(frozen=True, slots=True)
class Declined:
    """A device abandoned the round, stays offline, or its update was refused."""

    round: int
    device: str


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Nobody works on an update any more, for this round or an earlier one."""

    round: int


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The round has taken as long as it may."""

    round: int


@dataclass(frozen=True, slots=True)
class Merged:
    """The new version is committed."""

    round: int


@dataclass(frozen=True, slots=True)
class MergeFailed:
    """The updates did not add up to a finite model."""

    round: int


Event: TypeAlias = (
    Started
    | Resumed
    | Reported
    | LateReported
    | Joined
    | Declined
    | Exhausted
    | DeadlinePassed
    | Merged
    | MergeFailed
)
