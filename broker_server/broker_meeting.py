"""How the server meets its broker: one that is there, or one that it starts.

Without a fleet it starts one for this machine only. With one, a mosquitto for the whole
network, which lets nobody in but the fleet's members.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from broker_server.broker_policy.fleet_broker import fleet_broker
from broker_server.broker_policy.policy_folder import Listening
from broker_server.config import ServerConfig
from broker_server.embedded_broker import embedded_broker
from broker_server.fleet_folder import FleetFolder
from wire_protocol.errors import ConfigError
from wire_protocol.link import LinkSettings, TlsFiles, Will
from wire_protocol.tls import files_to_meet, login_of
from wire_protocol.topics import Topics

_log = logging.getLogger("edgefed.server")
PLAIN_PORT: Final = 1883


@contextlib.asynccontextmanager
async def met_broker(
    config: ServerConfig, fleet: FleetFolder | None
) -> AsyncIterator[LinkSettings]:
    """Give the settings of the server's link; a broker of its own runs meanwhile.

    Raises:
        ConfigError: There is no authority to trust, or no broker is installed.
        RefusedError: The port is taken, or the broker does not start.
    """
    broker, folder = config.broker, config.server.state_dir / "broker"
    settings = link_settings(config, fleet)
    auto = broker.protocol == "auto"
    if not broker.starts_own:
        yield settings
    elif config.guards_own and fleet is not None:
        where = Listening(config.listen, _port(config, fleet))
        async with fleet_broker(fleet, folder, listening=where) as guarded:
            _log.info(
                "started %s on %s port %d, for members of fleet %s only",
                guarded.program.label,
                config.listen,
                guarded.port,
                config.server.fleet,
            )
            protocol = "5" if auto else broker.protocol
            yield replace(settings, port=guarded.port, protocol=protocol)
    else:
        port = PLAIN_PORT if broker.port is None else broker.port
        async with embedded_broker(port, folder, kind=broker.kind) as started:
            # amqtt does not answer MQTT 5; asking first would cost seconds
            protocol = started.protocol if auto else broker.protocol
            _log.info("started %s on port %d", started.kind, started.port)
            if started.notice:
                _log.warning("%s", started.notice)
            yield replace(settings, port=started.port, protocol=protocol)


def link_settings(config: ServerConfig, fleet: FleetFolder | None) -> LinkSettings:
    """Return how the server connects to its broker, its will included.

    Where it starts one on any free port, whoever starts it knows the port.

    Raises:
        ConfigError: TLS is asked for, and there is no authority to trust.
    """
    broker = config.broker
    guarded = Listening(config.listen, 0) if config.guards_own else None
    return LinkSettings(
        broker.address if guarded is None else guarded.reached_at,
        _port(config, fleet) or PLAIN_PORT,
        identity=f"edgefed-{config.server.fleet}-server",
        protocol=broker.protocol,
        will=Will(Topics(config.server.fleet).server_availability, b"offline"),
        tls=_tls(config, fleet),
        login=None
        if broker.starts_own
        else login_of(broker.username, broker.password_file),
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


def _port(config: ServerConfig, fleet: FleetFolder | None) -> int:
    if config.broker.port is not None:
        return config.broker.port
    return PLAIN_PORT if fleet is None or not config.uses_tls else fleet.fleet.port


def _tls(config: ServerConfig, fleet: FleetFolder | None) -> TlsFiles | None:
    """Return how to meet the broker; None: in clear."""
    if not config.uses_tls or (config.broker.starts_own and fleet is None):
        return None
    ours = None if fleet is None else fleet.server_tls
    if config.guards_own:
        return ours
    return files_to_meet(
        ours,
        authority=config.broker.authority,
        by_name=config.broker.username is not None,
        remedy="set [broker] authority, or [security] fleet_dir",
    )
