"""The round in progress, as the service holds it."""

from collections.abc import Collection
from dataclasses import dataclass

from broker_server.artifact import Artifact
from broker_server.config import ServerConfig
from broker_server.model_line import Tip
from broker_server.publications import round_offer
from broker_server.rounds import Started
from broker_server.sampling import draw_cohort
from wire_protocol.messages import RoundOffer


@dataclass(frozen=True, slots=True)
class OpenRound:
    """The event that opens it, its offer, and when it ``began``."""

    started: Started
    offer: RoundOffer
    began: float


def invited(
    config: ServerConfig, eligible: Collection[str], *, number: int, begun: bool
) -> tuple[str, ...]:
    """Draw the cohort of round ``number``; empty while too few devices are there.

    The first round waits for more of them than the later ones, which ``begun`` says.
    """
    if len(eligible) < (1 if begun else config.round.devices):
        return ()
    cohort = draw_cohort(
        eligible,
        seed=config.server.seed,
        round_number=number,
        fraction=config.round.fraction,
    )
    return cohort if len(cohort) >= config.round.minimum else ()


def new_round(
    config: ServerConfig,
    artifact: Artifact,
    tip: Tip,
    *,
    number: int,
    cohort: tuple[str, ...],
    began: float,
) -> OpenRound:
    """Return round ``number`` of ``cohort``, not yet offered."""
    offer = round_offer(config, artifact, tip, number=number, cohort=cohort)
    started = Started(
        number,
        frozenset(cohort),
        goal=config.round.goal,
        minimum=config.round.minimum,
    )
    return OpenRound(started, offer, began)
