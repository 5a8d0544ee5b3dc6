"""The states of a round on the server: values that ``rounds.step`` moves between.

This module is pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from broker_server.records import Mode, Pending


@dataclass(frozen=True, slots=True)
class Waiting:
    """No round is open."""

    pending: frozenset[Pending] = frozenset()


@dataclass(frozen=True, slots=True)
class Collecting:
    """The cohort has the offer of ``version``; updates come in."""

    round: int
    version: int
    cohort: frozenset[str]
    goal: int
    minimum: int
    mode: Mode = "sync"
    pending: frozenset[Pending] = frozenset()
    declined: frozenset[str] = frozenset()
    overdue: bool = False

    @property
    def reported(self) -> Mapping[str, str]:
        """Devices whose update of this round was accepted, and its transfer."""
        own = (one for one in self.pending if one.round == self.round)
        return {one.device: one.transfer for one in own}

    @property
    def outstanding(self) -> frozenset[str]:
        """Devices that may still send an update of this round."""
        return self.cohort - self.reported.keys() - self.declined

    @property
    def counted(self) -> frozenset[str]:
        """Devices that count towards goal and minimum of a sync round."""
        return frozenset(
            one.device for one in self.pending if one.version == self.version
        )


@dataclass(frozen=True, slots=True)
class Merging:
    """The updates ``taken`` become a new version; others wait for the next merge."""

    round: int
    version: int
    taken: tuple[Pending, ...]
    pending: frozenset[Pending] = frozenset()

    @property
    def reported(self) -> Mapping[str, str]:
        """Devices whose update of this round is taken, and its transfer."""
        own = (one for one in self.taken if one.round == self.round)
        return {one.device: one.transfer for one in own}


@dataclass(frozen=True, slots=True)
class Failed:
    """The round ended without a new version."""

    round: int
    pending: frozenset[Pending] = frozenset()


State: TypeAlias = Waiting | Collecting | Merging | Failed


def missed(state: State, *, online: frozenset[str]) -> frozenset[str]:
    """Return who the round waits for though they are offline."""
    if not isinstance(state, Collecting):
        return frozenset()
    return state.outstanding - online
