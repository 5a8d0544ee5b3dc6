"""Serving: a whole server put together, from its configuration to its end."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from broker_server.artifact import load_artifact
from broker_server.broker_meeting import met_broker, open_fleet
from broker_server.config import ServerConfig
from broker_server.roster import Roster
from broker_server.service import Service
from broker_server.store import Store
from broker_server.tally import Ending
from wire_protocol.errors import ConfigError, EdgefedError
from wire_protocol.mqtt import MqttLink
from wire_protocol.sealed_link import SealedLink
from wire_protocol.topics import Topics

_log = logging.getLogger("edgefed.server")


async def serve(
    config: ServerConfig,
    *,
    find_artifact: Callable[[str], Path],
    stop: asyncio.Event,
) -> Ending:
    """Run a server, and its broker if it has its own, until its end or ``stop``.

    ``find_artifact`` returns the folder of an artifact by name or path.

    Raises:
        ConfigError: The artifact cannot be used, or no broker is installed.
        RefusedError: The port is taken, or the state folder is another's.
        TransportError: Nobody answers at the broker's address.
    """
    artifact = load_artifact(find_artifact(config.model.artifact))
    families = artifact.families
    if not families:
        raise ConfigError(
            f"artifact {config.model.artifact} has no complete set of files for any "
            "runtime",
            remedy="build it again with 'edgefed zoo build'",
        )
    fleet = open_fleet(config)
    async with AsyncExitStack() as stack:
        store = stack.enter_context(Store.open(config.server.state_dir))
        settings = await stack.enter_async_context(met_broker(config, fleet))
        link = await stack.enter_async_context(MqttLink(settings, fail_fast=True))
        roster = Roster(fleet)
        topics = Topics(config.server.fleet)
        sealed = SealedLink(link, topics=topics, seal=roster.seal)
        service = Service(config, artifact, store=store, link=sealed, roster=roster)
        _log.info(
            "model %s, version %d, for %s",
            artifact.manifest.name,
            service.version,
            " and ".join(families),
        )
        try:
            return await service.run(stop)
        except ExceptionGroup as group:
            raise _expected(group) or group from None


def _expected(group: ExceptionGroup) -> EdgefedError | None:
    """Return the expected error in what ended a task group, if that is all there is."""
    known, others = group.split(EdgefedError)
    first: BaseException | None = known
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, EdgefedError) and others is None else None
