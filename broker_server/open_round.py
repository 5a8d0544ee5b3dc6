"""The round in progress, as the service holds it."""

import asyncio
from dataclasses import dataclass

from broker_server.artifact import Artifact
from broker_server.config import ServerConfig
from broker_server.model_line import Tip
from broker_server.publications import round_offer
from broker_server.uplink import Uplink, max_update_bytes
from wire_protocol.messages import RoundOffer


@dataclass(frozen=True, slots=True)
class OpenRound:
    """Its offer, what arrives of it, when it ``began`` and the timer that ends it."""

    offer: RoundOffer
    uplink: Uplink
    began: float
    deadline: asyncio.TimerHandle


def new_round(
    config: ServerConfig,
    artifact: Artifact,
    tip: Tip,
    *,
    number: int,
    cohort: tuple[str, ...],
    began: float,
    deadline: asyncio.TimerHandle,
) -> OpenRound:
    """Return round ``number`` of ``cohort``, not yet offered."""
    uplink = Uplink(
        cohort,
        block_bytes=config.server.block_bytes,
        max_bytes=max_update_bytes(artifact.manifest.layout.size),
    )
    offer = round_offer(config, artifact, tip, number=number, cohort=cohort)
    return OpenRound(offer, uplink, began, deadline)
