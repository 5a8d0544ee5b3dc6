"""A fleet, its broker with TLS and access rules, and a device that joined it."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from broker_server.broker_policy.policy_folder import Listening, PolicyFolder
from broker_server.fleet import Fleet
from broker_server.fleet_folder import FleetFolder
from broker_server.members import Member
from edge_agent.membership import IdentityFolder, Membership
from tests.broker.broker_fixtures import Mosquitto, free_port
from tools.doctor.machine_verdicts import BUILT
from wire_protocol.signing import Signer, key_to_pem

NOW = BUILT + 3 * 365 * 86_400
YEAR_S = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Home:
    """The fleet's folder, a member's, and where the broker listens."""

    fleet: FleetFolder
    identity: IdentityFolder
    port: int


@contextmanager
def secured_home(
    folder: Path, *, rules: str = "", revoked: tuple[str, ...] = ()
) -> Iterator[Home]:
    """Found the fleet ``home`` with the member ``kitchen``, and run its broker.

    It has the policy that edgefed writes, but for its access ``rules``, if given.
    """
    random = Random(5)
    fleet = FleetFolder.create(
        folder / "fleet",
        Fleet("home", ("localhost", "127.0.0.1")),
        now=NOW,
        random=random.randbytes,
    )
    policy = PolicyFolder(
        folder / "broker",
        fleet,
        listening=Listening("127.0.0.1", free_port()),
        user=getpass.getuser(),
    )
    identity = IdentityFolder(folder / "identity")
    join(
        fleet, identity, port=policy.listening.port, signer=Signer(random.randbytes(32))
    )
    for device in revoked:
        fleet.revoke(device, why="lost", now=NOW)
    broker = Mosquitto(folder, policy=policy)  # which writes it
    if rules:
        (policy.path / "mosquitto.acl").write_text(rules)
    broker.start()
    try:
        yield Home(fleet, identity, policy.listening.port)
    finally:
        broker.kill()


def join(
    fleet: FleetFolder, identity: IdentityFolder, *, port: int, signer: Signer
) -> None:
    """Make ``kitchen`` a member, as enrolment would."""
    ends = NOW + YEAR_S
    certificate = fleet.authority.issue(
        "kitchen", signer.public, serial=77, not_after=ends
    )
    member = Member(
        device="kitchen",
        label="kitchen",
        public=signer.public.hex(),
        serial=certificate.serial,
        not_after=ends,
        joined=NOW,
        claim="claim.0123456789",
        hardware="",
    )
    fleet.keep_member(member, certificate)
    member_file = Membership(
        "home", "kitchen", "localhost", port, fleet.signer.public.hex(), ""
    )
    identity.write("device.key", key_to_pem(signer))
    identity.write("device.crt", certificate.pem)
    identity.write("authority.crt", fleet.authority.certificate.pem)
    identity.write("membership.json", member_file.to_json())
