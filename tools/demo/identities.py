"""A fleet for a demo: an authority, and a membership for every device.

Devices of a demo are issued their certificates directly: keys and files are those that
``edgefed agent join`` would have made.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from broker_server.fleet import Fleet
from broker_server.fleet_folder import CONSOLE_NAME, YEAR_S, FleetFolder
from broker_server.members import Member
from broker_server.passing_certificate import passing_certificate
from edge_agent.membership import IdentityFolder, Membership
from wire_protocol.certificates import certificate_request, serial_from
from wire_protocol.link import TlsFiles
from wire_protocol.signing import Signer, key_to_pem

HOST: Final = "localhost"
DAY_S: Final = 24 * 3600.0
RandomBytes = Callable[[int], bytes]


def found_fleet(
    folder: Path, name: str, *, port: int, now: float, random: RandomBytes
) -> FleetFolder:
    """Found the fleet ``name``, whose broker is on this machine."""
    fleet = Fleet(name, (HOST, "127.0.0.1"), port)
    return FleetFolder.create(folder, fleet, now=now, random=random)


def admit(
    fleet: FleetFolder,
    devices: Iterable[tuple[str, Path]],
    *,
    now: float,
    random: RandomBytes,
) -> None:
    """Make each device, by its id and its identity folder, a member."""
    fleet_key = fleet.signer.public.hex()
    authority = fleet.authority
    with fleet.locked():
        for device, path in devices:
            signer = Signer(random(32))
            certificate = authority.issue(
                device,
                signer.public,
                serial=serial_from(random(15)),
                not_after=now + YEAR_S,
            )
            member = Member(
                device=device,
                label=device,
                public=signer.public.hex(),
                serial=certificate.serial,
                not_after=certificate.not_after,
                joined=now,
                claim="",
                hardware="a process of a demo",
            )
            fleet.keep_member(member, certificate)
            mine = IdentityFolder(path)
            mine.write("device.key", key_to_pem(signer))
            mine.write("device.csr", certificate_request(device, signer))
            mine.write("device.crt", certificate.pem)
            mine.write("authority.crt", authority.certificate.pem)
            membership = Membership(
                fleet.fleet.fleet, device, HOST, fleet.fleet.port, fleet_key, ""
            )
            mine.write("membership.json", membership.to_json())


def onlooker(fleet: FleetFolder, *, now: float, random: RandomBytes) -> TlsFiles:
    """Return how to meet the broker as one who may read everything and say nothing."""
    return passing_certificate(
        CONSOLE_NAME,
        fleet.path,
        by=fleet.authority,
        trusting=fleet.server_tls.authority,
        not_after=now + DAY_S,
        random=random,
    )
