"""Join tokens: the right to join a fleet once, as one line to copy to a device."""

from broker_server.enrolment_rules import MAX_CLAIM_S
from broker_server.fleet_folder import FleetFolder, RandomBytes
from broker_server.members import Claim
from wire_protocol.certificates import serial_from
from wire_protocol.enrolment import JoinToken, TokenParts, token_text
from wire_protocol.errors import ConfigError, RefusedError
from wire_protocol.framing import frame
from wire_protocol.signing import Signer
from wire_protocol.topics import check_name

MAX_TOKENS = 1000


def open_claims(
    folder: FleetFolder,
    *,
    count: int = 1,
    device: str = "",
    for_s: float,
    now: float,
    random: RandomBytes,
) -> list[tuple[Claim, str]]:
    """Make ``count`` claims that hold for ``for_s`` seconds; return them with tokens.

    With ``device`` there is one, for just that id. A token is a secret: it is written
    nowhere here.

    Raises:
        ConfigError: The time or the number is out of range.
        RefusedError: The id is a member's already.
    """
    if not 0 < for_s <= MAX_CLAIM_S:
        raise ConfigError(
            f"a token holds for 1 s to 24 h, not {for_s:g} s",
            remedy="give a time such as --for 10m",
        )
    if not 1 <= count <= (1 if device else MAX_TOKENS):
        raise ConfigError(
            f"{count} tokens cannot be made at once",
            remedy="one for a --device, or up to 1000 without",
        )
    if device and folder.member(check_name(device, what="device")) is not None:
        raise RefusedError(
            f"{device} is a member already",
            remedy=f"choose another id, or first: edgefed devices forget {device}",
        )
    until = now + for_s
    authority = folder.authority
    fleet_key = folder.signer.public
    made = []
    with folder.locked():
        for _ in range(count):
            signer = Signer(random(32))
            name = f"claim.{random(8).hex()}"
            certificate = authority.issue(
                name, signer.public, serial=serial_from(random(15)), not_after=until
            )
            claim = Claim(
                name, signer.public.hex(), certificate.serial, until, device=device
            )
            folder.keep_claim(claim)
            parts = TokenParts(
                signer.seed, fleet_key, authority.certificate.der, certificate.der
            )
            fleet = folder.fleet
            token = JoinToken(fleet.hosts[0], fleet.port, fleet.fleet, name, device)
            made.append((claim, token_text(frame(token, parts.to_bytes()))))
    return made
