"""What is to be thought of what a server has: database, artifact, broker program.

Facts in, findings out. This module is pure.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.doctor.findings import Finding, failed, not_measured, ok, warning

LARGE_LOG_BYTES: Final = 256 << 20
_MIB: Final = 1 << 20
_INSTALL: Final = "sudo apt install mosquitto"


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """The server's SQLite file, its write-ahead log, and the damage found, or ""."""

    path: Path
    size: int
    log_size: int
    problem: str


def judge_database(facts: DatabaseFacts | None) -> Finding:
    """Return whether what the server remembers is whole."""
    if facts is None:
        return not_measured("this server has remembered nothing yet")
    measured = {"bytes": facts.size, "log_bytes": facts.log_size}
    found = (
        f"{facts.size / _MIB:.1f} MiB, write-ahead log {facts.log_size / _MIB:.1f} MiB"
    )
    if facts.problem:
        return failed(
            f"{facts.path} is damaged: {facts.problem}",
            remedy="move the state folder away, and bring back a backup: edgefed "
            "server restore --from FILE.tar",
            measured=measured,
        )
    if facts.log_size > LARGE_LOG_BYTES:
        return warning(
            f"whole, but its log does not shrink: {found}",
            remedy="end who reads it all the time, then stop and start the server: "
            f"sudo fuser -v {facts.path}",
            measured=measured,
        )
    return ok(f"whole; {found}", measured=measured)


@dataclass(frozen=True, slots=True)
class ArtifactFacts:
    """A training artifact that is whole: for which runtime families, how many bytes."""

    model: str
    families: tuple[str, ...]
    size: int


def judge_artifact(facts: ArtifactFacts) -> Finding:
    """Return for which devices the model is."""
    measured = {"bytes": facts.size, "families": len(facts.families)}
    found = f"{facts.model}, {facts.size:,} bytes"
    again = "build it again: edgefed zoo build"
    if not facts.families:
        return failed(
            f"{found}, complete for no runtime", remedy=again, measured=measured
        )
    if len(facts.families) == 1:
        return warning(
            f"{found}, for {facts.families[0]} only: devices with another runtime "
            "cannot take part",
            remedy=again,
            measured=measured,
        )
    return ok(f"{found}, for {' and '.join(facts.families)}", measured=measured)


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """Brokers that are installed: the path and version of mosquitto, if amqtt is."""

    mosquitto: str
    version: str
    amqtt: bool


def judge_broker_program(facts: ProgramFacts, *, wanted: str) -> Finding:
    """Return whether the server can start the broker that is ``wanted``."""
    usable = facts.mosquitto and wanted != "amqtt"
    if usable and facts.version.startswith(("0.", "1.")):
        return failed(
            f"mosquitto {facts.version} is too old, 2.0 or newer is needed",
            remedy=f"update the system, then {_INSTALL}",
            measured={"version": facts.version},
        )
    if usable:
        return ok(
            f"mosquitto {facts.version or 'of unknown version'}, {facts.mosquitto}",
            measured={"version": facts.version},
        )
    if facts.amqtt and wanted != "mosquitto":
        return warning(
            "only amqtt, which is for development",
            remedy=_INSTALL
            + ('; and set [broker] kind = "auto"' * bool(facts.mosquitto)),
        )
    return failed(
        "no broker is installed that the server could start",
        remedy=f"{_INSTALL}, or name a broker in [broker] host",
    )
