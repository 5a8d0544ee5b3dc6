"""The round book: what the effects of a round write down, and what a restart reads.

Between ``rounds.step`` and the store: it knows the offer of the open round, and when
that round began by a clock that survives a restart.
"""

from dataclasses import dataclass, replace
from typing import Self

from broker_server.artifact import Artifact
from broker_server.clocks import Clocks
from broker_server.config import ServerConfig
from broker_server.model_line import Tip
from broker_server.publications import round_offer
from broker_server.records import OpenRecord
from broker_server.recovery import Recovered, recover
from broker_server.round_effects import GiveUp, Offer, Withdraw
from broker_server.store import Store
from wire_protocol.framing import expect, frame
from wire_protocol.messages import RoundOffer


@dataclass(frozen=True, slots=True)
class OpenRound:
    """The round in progress: its offer, and when it ``began`` by the steady clock."""

    offer: RoundOffer
    began: float
    started: float

    @classmethod
    def of(cls, record: OpenRecord, *, clocks: Clocks) -> Self:
        """Return the round that an earlier run left open."""
        offer, _ = expect(RoundOffer, record.offer)
        age_s = max(0.0, clocks.wall() - record.started)
        return cls(offer, clocks.steady() - age_s, record.started)


class RoundBook:
    """Writes rounds down; ``open`` is the one that is not over."""

    def __init__(
        self, config: ServerConfig, artifact: Artifact, store: Store, clocks: Clocks
    ) -> None:
        self._config = config
        self._artifact = artifact
        self._store = store
        self._clocks = clocks
        self.open: OpenRound | None = None

    def read(self) -> Recovered:
        """Return how things stand in the store."""
        record = self._store.unfinished()
        log = self._store.update_log
        self.open = OpenRound.of(record, clocks=self._clocks) if record else None
        return recover(
            self._store.rounds(),
            unfinished=record,
            pending=log.pending(),
            taken=log.taken(record.round) if record else (),
            tolerance=self._config.convergence.tolerance,
        )

    def offer(self, effect: Offer, *, tip: Tip) -> RoundOffer:
        """Write the round down as it is offered: begun, continued, or grown.

        A round that goes on after a restart has the offer it had, to the byte, unless
        the artifact was replaced meanwhile: nobody could fetch the old one.
        """
        cohort = tuple(sorted(effect.cohort))
        known = self.open
        if known is None or known.offer.round != effect.round:
            known = None
        if known is not None and known.offer.manifest == self._artifact.ref:
            offer = replace(known.offer, cohort=cohort)
        else:
            offer = round_offer(
                self._config, self._artifact, tip, number=effect.round, cohort=cohort
            )
        began = known.began if known else self._clocks.steady()
        started = known.started if known else self._clocks.wall()
        self.open = OpenRound(offer, began, started)
        self._store.open_round(
            effect.round,
            version=offer.version,
            cohort=cohort,
            started=started,
            mode=effect.mode,
            goal=effect.goal,
            minimum=effect.minimum,
            offer=frame(offer),
        )
        return offer

    def failed(self, effect: Withdraw | GiveUp, *, refused: dict[str, int]) -> None:
        """Write down that the round brought no version."""
        self._store.commit_failure(
            effect.round,
            cause="merge" if isinstance(effect, GiveUp) else effect.cause,
            ended=self._clocks.wall(),
            seconds=self._clocks.steady() - self.open.began if self.open else None,
            refused=refused,
        )
