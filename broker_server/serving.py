"""Serving: a whole server put together, from its configuration to its end."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Literal

from broker_server.artifact import load_artifact
from broker_server.config import ServerConfig
from broker_server.embedded_broker import embedded_broker
from broker_server.fleet_folder import FleetFolder
from broker_server.roster import Roster
from broker_server.service import Service
from broker_server.store import Store
from broker_server.tally import Ending
from wire_protocol.errors import ConfigError, EdgefedError
from wire_protocol.link import LinkSettings, Login, TlsFiles, Will
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
        port, protocol = config.broker.port, config.broker.protocol
        if config.broker.starts_own:
            broker = await stack.enter_async_context(
                embedded_broker(
                    port, config.server.state_dir / "broker", kind=config.broker.kind
                )
            )
            port = broker.port
            # amqtt does not answer MQTT 5; asking first would cost seconds
            protocol = broker.protocol if protocol == "auto" else protocol
            _log.info("started %s on port %d", broker.kind, port)
            if broker.notice:
                _log.warning("%s", broker.notice)
        topics = Topics(config.server.fleet)
        roster = Roster(fleet)
        link = await stack.enter_async_context(
            MqttLink(
                link_settings(config, fleet, port=port, protocol=protocol),
                fail_fast=True,
            )
        )
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


def link_settings(
    config: ServerConfig,
    fleet: FleetFolder | None,
    *,
    port: int,
    protocol: Literal["auto", "5", "3.1.1"],
) -> LinkSettings:
    """Return how the server connects to its broker on ``port``, its will included.

    Raises:
        ConfigError: TLS is asked for, and there is no authority to trust.
    """
    return LinkSettings(
        config.broker.address,
        port,
        identity=f"edgefed-{config.server.fleet}-server",
        protocol=protocol,
        will=Will(Topics(config.server.fleet).server_availability, b"offline"),
        tls=_tls(config, fleet),
        login=_login(config),
    )


def open_fleet(config: ServerConfig) -> FleetFolder | None:
    """Return the fleet's folder, if there is one.

    Raises:
        ConfigError: It is no fleet's, or another fleet's.
    """
    if config.security.fleet_dir is None:
        return None
    folder = FleetFolder(config.security.fleet_dir)
    if folder.fleet.fleet != config.server.fleet:
        raise ConfigError(
            f"{folder.path} is of fleet {folder.fleet.fleet!r}, not "
            f"{config.server.fleet!r}",
            remedy="correct [server] fleet or [security] fleet_dir",
        )
    return folder


def _tls(config: ServerConfig, fleet: FleetFolder | None) -> TlsFiles | None:
    """Return how to meet the broker; None: in clear."""
    if not config.uses_tls or config.broker.starts_own:
        return None
    ours = None if fleet is None else fleet.server_tls
    authority = config.broker.authority
    if authority is None and ours is not None:
        authority = ours.authority
    if authority is None:
        raise ConfigError(
            "[broker] tls needs an authority to trust",
            remedy="set [broker] authority, or [security] fleet_dir",
        )
    if ours is None or config.broker.username is not None:
        return TlsFiles(authority)
    return replace(ours, authority=authority)


def _login(config: ServerConfig) -> Login | None:
    broker = config.broker
    if broker.username is None or broker.password_file is None:
        return None
    return Login(broker.username, broker.password_file)


def _expected(group: ExceptionGroup) -> EdgefedError | None:
    """Return the expected error in what ended a task group, if that is all there is."""
    known, others = group.split(EdgefedError)
    first: BaseException | None = known
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, EdgefedError) and others is None else None
