"""Invitations: when a round begins, whom it invites, and who may join it.

This module is pure.
"""

from collections.abc import Callable, Collection
from typing import TypeAlias

from broker_server.artifact import Artifact
from broker_server.config import ServerConfig
from broker_server.records import Pending
from broker_server.registry import Registry
from broker_server.round_events import Exhausted, Joined, Started
from broker_server.round_states import Collecting, Failed, State, Waiting
from broker_server.sampling import cohort_size, draw_cohort, merge_size
from broker_server.told_statistics import moderated
from wire_protocol.feature_statistics import FeatureStatistics, channels_of
from wire_protocol.messages import MAX_COHORT

Invited: TypeAlias = Started | Joined | Exhausted


class Invitations:
    """Whom this server invites: devices that can train its ``artifact``.

    The first round waits for more devices than the later ones and, where the model
    scales its inputs by them, for statistics from each of these. ``barred`` tells who
    is in quarantine in a round.
    """

    def __init__(
        self,
        config: ServerConfig,
        artifact: Artifact,
        *,
        barred: Callable[[int], frozenset[str]] = lambda _: frozenset(),
    ) -> None:
        self._config = config
        self._barred = barred
        self._families = artifact.families
        self._channels = channels_of(artifact.manifest.layout)
        self._begun = False

    def channels(self, held: int) -> int:
        """Return of how many channels devices must tell, after ``held`` rounds."""
        return 0 if held else self._channels

    def told(self, registry: Registry, held: int) -> list[FeatureStatistics]:
        """Return what devices have told of their inputs; it is wanted but once."""
        channels = self.channels(held)
        if not channels:
            return []
        told = registry.statistics(self.eligible(registry, channels=channels))
        return moderated(told, cap=self._config.guard.weight_cap)

    def eligible(self, registry: Registry, *, channels: int = 0) -> tuple[str, ...]:
        """Return who can take part now, sorted."""
        return registry.eligible(
            families=self._families,
            codec=self._config.codec.uplink,
            late=self._config.round.max_staleness > 0,
            channels=channels,
        )

    def due(
        self, state: State, registry: Registry, *, number: int, version: int
    ) -> Invited | None:
        """Return what is to happen to the round, if anything, as the devices are now.

        A new one has ``number`` and trains ``version``.
        """
        channels = self.channels(number - 1)
        eligible = frozenset(self.eligible(registry, channels=channels))
        eligible -= self._barred(number)
        match state:
            case Waiting(pending) | Failed(_, pending):
                started = invitation(
                    self._config,
                    eligible,
                    pending=pending,
                    number=number,
                    version=version,
                    begun=self._begun,
                )
                self._begun = self._begun or started is not None
                return started
            case Collecting(mode="buffered"):
                joining = eligible - state.cohort - state.counted
                if joining and len(state.cohort) < MAX_COHORT:
                    return Joined(state.round, _capped(joining, taken=state.cohort))
                if state.pending and not state.outstanding and not registry.busy:
                    return Exhausted(state.round)
        return None


def invitation(
    config: ServerConfig,
    eligible: Collection[str],
    *,
    pending: Collection[Pending],
    number: int,
    version: int,
    begun: bool,
) -> Started | None:
    """Return how round ``number`` begins, or None while too few devices are there.

    A device whose update of this ``version`` is ``pending`` has done its part: it
    counts, and is not drawn.
    """
    done = frozenset(one.device for one in pending if one.version == version)
    free = frozenset(eligible) - done
    if len(free | done) < (1 if begun else config.round.devices):
        return None
    if config.round.mode == "buffered":
        return _buffered(config, free, pending=pending, number=number, version=version)
    part = merge_size(len(free | done), fraction=config.round.fraction)
    goal = max(config.round.goal or part, config.round.minimum)
    cohort = draw_cohort(
        free,
        seed=config.server.seed,
        round_number=number,
        size=cohort_size(
            len(free), wanted=goal - len(done), over_select=config.round.over_select
        ),
    )
    if len(cohort) + len(done) < config.round.minimum:
        return None
    return Started(
        number,
        version,
        frozenset(cohort),
        goal=goal,
        minimum=config.round.minimum,
    )


def _buffered(
    config: ServerConfig,
    free: frozenset[str],
    *,
    pending: Collection[Pending],
    number: int,
    version: int,
) -> Started | None:
    full = len(pending) >= config.round.buffer
    if not free and not full:
        return None
    return Started(
        number,
        version,
        # A full buffer is merged at once: better train what will come of it.
        frozenset() if full else _capped(free, taken=frozenset()),
        goal=config.round.buffer,
        minimum=1,
        mode="buffered",
    )


def _capped(devices: frozenset[str], *, taken: frozenset[str]) -> frozenset[str]:
    """Return as many of the devices as an offer has room for."""
    return frozenset(sorted(devices)[: MAX_COHORT - len(taken)])
