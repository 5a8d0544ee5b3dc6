"""Looking at what a server has: its fleet, database, artifact and broker."""

import re
from importlib.util import find_spec
from pathlib import Path

from broker_server.artifact import Artifact
from broker_server.database import Database
from broker_server.embedded_broker import find_mosquitto
from broker_server.fleet_folder import FleetFolder
from tools.doctor.identity_verdicts import DEVICE_SOON_S, FleetFacts
from tools.doctor.machine_probes import modes_of, said_by
from tools.doctor.server_verdicts import ArtifactFacts, DatabaseFacts, ProgramFacts


def look_at_fleet(folder: FleetFolder, *, configured: str, now: float) -> FleetFacts:
    """Read a fleet's folder, whose name the configuration says is ``configured``.

    Raises:
        ConfigError: A file of it is missing or damaged.
        OSError: It may not be read.
    """
    members = folder.members().values()
    active = [one for one in members if not one.revoked]
    return FleetFacts(
        modes=modes_of(folder.path, "*.key"),
        fleet=folder.fleet.fleet,
        configured=configured,
        ends={
            "authority": folder.authority.certificate.not_after,
            "server": folder.server_certificate().not_after,
            "broker": folder.broker_certificate().not_after,
        },
        members=len(active),
        revoked=len(members) - len(active),
        ending=tuple(
            one.device for one in active if one.not_after < now + DEVICE_SOON_S
        ),
        claims=sum(
            1
            for one in folder.claims().values()
            if one.until > now and not one.taken_by
        ),
        listed=(folder.path / "revoked.crl").is_file(),
    )


def look_at_database(path: Path) -> DatabaseFacts | None:
    """Look for damage in the server's database; None: there is none yet.

    Raises:
        RefusedError: It cannot be read at all.
    """
    if not path.is_file():
        return None
    database = Database.open(path, readonly=True)
    try:
        problem = database.quick_check()
    finally:
        database.close()
    log = path.with_name(path.name + "-wal")
    return DatabaseFacts(
        path=path,
        size=path.stat().st_size,
        log_size=log.stat().st_size if log.exists() else 0,
        problem=problem,
    )


def look_at_artifact(artifact: Artifact) -> ArtifactFacts:
    """Return what an artifact that was read whole is."""
    return ArtifactFacts(
        model=artifact.manifest.name,
        families=artifact.families,
        size=sum(map(len, artifact.blobs.values())),
    )


def look_at_broker_program() -> ProgramFacts:
    """Return which brokers are installed."""
    mosquitto = find_mosquitto()
    told = said_by("mosquitto", "-h") if mosquitto else None
    version = re.search(r"mosquitto version (\d+(?:\.\d+)*)", told or "")
    return ProgramFacts(
        mosquitto=mosquitto or "",
        version=version[1] if version else "",
        amqtt=find_spec("amqtt") is not None,
    )
