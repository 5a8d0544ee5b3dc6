"""Checkup: whether a fleet's folder and this machine can make a broker.

Files and their modes, ends of certificates, mosquitto and its version; then a trial.
"""

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from broker_server.broker_policy.findings import Finding
from broker_server.broker_policy.program import installed_program
from broker_server.broker_policy.trial import Trial
from broker_server.fleet_folder import FleetFolder, RandomBytes
from wire_protocol.certificates import Certificate, check_issued
from wire_protocol.errors import EdgefedError, TrustError

SECRETS: Final = ("authority.key", "signing.key", "server.key", "broker.key")
_SOON_S: Final = 30 * 24 * 3600.0


async def check_broker(
    fleet: FleetFolder, *, clock: Callable[[], float], random: RandomBytes
) -> list[Finding]:
    """Return what is found about the broker of ``fleet``, in order.

    ``clock`` tells seconds since 1970, ``random`` makes keys.
    """
    found = [*_files(fleet), *_certificates(fleet, now=clock()), _program()]
    if found[-1].well:
        found += await Trial(fleet, clock, random).findings()
    return found


def _files(fleet: FleetFolder) -> Iterator[Finding]:
    for name, private in (("", 0o700), *((name, 0o600) for name in SECRETS)):
        path = fleet.path / name
        try:
            mode = path.stat().st_mode & 0o777
        except OSError as error:
            yield Finding(str(path), False, str(error.strerror), "restore a copy")
            continue
        told = f"mode {mode:o}"
        if mode & 0o077:
            yield Finding(str(path), False, told, f"chmod {private:o} {path}")
        else:
            yield Finding(str(path), True, told)


def _certificates(fleet: FleetFolder, *, now: float) -> Iterator[Finding]:
    readers: dict[str, Callable[[], Certificate]] = {
        "the authority's certificate": lambda: fleet.authority.certificate,
        "the server's certificate": fleet.server_certificate,
        "the broker's certificate": fleet.broker_certificate,
    }
    for name, read in readers.items():
        try:
            certificate = read()
            _check_pair(fleet, certificate)
        except (EdgefedError, OSError, ssl.SSLError) as error:
            yield Finding(name, False, str(error), "edgefed fleet renew")
            continue
        ends = datetime.fromtimestamp(certificate.not_after, UTC)
        well = certificate.not_after > now + _SOON_S
        remedy = "" if well else "edgefed fleet renew"
        yield Finding(name, well, f"until {ends:%Y-%m-%d}", remedy)


def _check_pair(fleet: FleetFolder, certificate: Certificate) -> None:
    """Raise unless the fleet's authority issued it, and its key is there."""
    authority = fleet.authority.certificate
    check_issued(certificate, by=authority)
    short = certificate.name.partition(".")[0]
    stem = "authority" if certificate.public == authority.public else short
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(fleet.path / f"{stem}.crt", fleet.path / f"{stem}.key")
    except ssl.SSLError as error:
        raise TrustError(f"{stem}.crt and {stem}.key do not belong together") from error


def _program() -> Finding:
    try:
        program = installed_program()
    except EdgefedError as error:
        return Finding("mosquitto", False, error.problem, error.remedy)
    told = f"{program.label}, {program.path}"
    if program.version >= (2, 1) and program.acl_plugin is None:
        told += ", without its plugin for access lists: the former option is used"
    return Finding("mosquitto", True, told)
