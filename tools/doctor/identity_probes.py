"""Looking at a device's identity: who may read it, and what its certificate says."""

from pathlib import Path

from edge_agent.membership import IdentityFolder
from tools.doctor.identity_verdicts import IdentityFacts
from tools.doctor.machine_probes import modes_of
from wire_protocol.certificates import Certificate, check_issued, read_certificate
from wire_protocol.errors import ConfigError, DecodeError, TrustError
from wire_protocol.signing import key_from_pem


def look_at_identity(
    identity: IdentityFolder, *, configured: tuple[str, str]
) -> IdentityFacts:
    """Read what makes a device a member of its fleet.

    ``configured`` are fleet and device as its configuration names them.

    Raises:
        ConfigError: It has joined no fleet, or a file is damaged.
        OSError: A file may not be read.
    """
    member = identity.membership()
    certificate = _certificate(identity.path / "device.crt")
    authority = _certificate(identity.path / "authority.crt")
    try:
        check_issued(certificate, by=authority)
        issued = True
    except TrustError:
        issued = False
    key = key_from_pem((identity.path / "device.key").read_bytes())
    return IdentityFacts(
        modes=modes_of(identity.path, "*.key"),
        member=(member.fleet, member.device),
        configured=configured,
        certified=certificate.name,
        ends=certificate.not_after,
        our_key=certificate.public == key.public,
        by_authority=issued,
    )


def _certificate(path: Path) -> Certificate:
    try:
        return read_certificate(path.read_bytes())
    except (FileNotFoundError, DecodeError) as error:
        raise ConfigError(
            f"{path}: {error}", remedy="join again: edgefed agent join"
        ) from error
