"""How the doctor of a server meets its broker without disturbing the server.

While the server runs, whoever comes with its certificate throws it off the broker. Then
the doctor is a visitor: a device that is no member, with a certificate for an hour that
the fleet's authority makes here, and that is gone with its key after every check.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from broker_server.broker_meeting import link_settings, open_fleet
from broker_server.config import ServerConfig
from broker_server.fleet_folder import FleetFolder
from broker_server.passing_certificate import passing_certificate
from broker_server.store import LOCK
from tools.doctor.broker_checks import Meeting
from tools.doctor.findings import Finding, not_measured
from tools.doctor.locks import is_held
from tools.doctor.trial import as_doctor
from wire_protocol.link import LinkSettings, TlsFiles
from wire_protocol.topics import Topics

VISITOR: Final = "visitor.edgefed"
"""What the doctor is called while the server runs; no device id has a dot."""
_VISIT_S: Final = 3600.0


def server_meeting(config: ServerConfig) -> Meeting:
    """Return how the broker of ``config`` is met."""
    running = config.server.state_dir / LOCK

    @contextlib.contextmanager
    def settings() -> Iterator[LinkSettings]:
        fleet = open_fleet(config)
        own = as_doctor(link_settings(config, fleet))
        if fleet is None or not visits(config):
            yield own
            return
        with _visitor(fleet) as tls:
            yield replace(own, tls=tls, identity=VISITOR)

    def absent() -> Finding | None:
        if not config.broker.starts_own:
            return None
        if config.broker.port == 0:
            return not_measured(
                "the server starts its broker on any free port",
                remedy="set [broker] port to have it tried",
            )
        if not is_held(running):
            return not_measured(
                "the server starts its broker itself, and is not running",
                remedy="start it (edgefed server run), and ask again",
            )
        return None

    def barred() -> Finding | None:
        if config.broker.username is not None and is_held(running):
            return not_measured(
                "the server is running, and a second connection with its name might "
                "throw it off the broker",
                remedy="stop the server, and ask again",
            )
        return None

    return Meeting(
        settings,
        absent=absent,
        barred=barred,
        topic=Topics(config.server.fleet).device(VISITOR, "doctor"),
        block_bytes=config.server.block_bytes,
    )


def visits(config: ServerConfig) -> bool:
    """Return whether the doctor must come as somebody else than the server."""
    by_certificate = (
        config.security.fleet_dir is not None
        and config.uses_tls
        and config.broker.username is None
    )
    return by_certificate and bool(is_held(config.server.state_dir / LOCK))


@contextlib.contextmanager
def _visitor(fleet: FleetFolder) -> Iterator[TlsFiles]:
    """Make a key and a certificate for ``VISITOR``, and remove them afterwards."""
    with TemporaryDirectory(prefix="edgefed-doctor-") as folder:
        yield passing_certificate(
            VISITOR,
            Path(folder),
            by=fleet.authority,
            trusting=fleet.path / "authority.crt",
            not_after=time.time() + _VISIT_S,
            random=os.urandom,
        )
