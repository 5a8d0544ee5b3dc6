"""What a device's folder says of it is what was put there."""

from pathlib import Path
from random import Random

import pytest

from broker_server.fleet import Fleet
from broker_server.fleet_folder import FleetFolder
from edge_agent.membership import IdentityFolder
from tests.tools.doctor.fleets import NOW, YEAR_S, join
from tools.doctor.identity_probes import look_at_identity
from wire_protocol.errors import ConfigError
from wire_protocol.signing import Signer, key_to_pem

KITCHEN = ("home", "kitchen")


def _fleet(folder: Path, *, seed: int) -> FleetFolder:
    random = Random(seed)
    return FleetFolder.create(
        folder, Fleet("home", ("localhost",)), now=NOW, random=random.randbytes
    )


@pytest.fixture
def identity(tmp_path: Path) -> IdentityFolder:
    folder = IdentityFolder(tmp_path / "identity")
    join(_fleet(tmp_path / "fleet", seed=1), folder, port=1, signer=Signer(bytes(32)))
    return folder


def test_a_member_is_what_it_was_made(identity: IdentityFolder) -> None:
    facts = look_at_identity(identity, configured=KITCHEN)
    assert facts.member == KITCHEN
    assert facts.certified == "kitchen"
    assert facts.ends == NOW + YEAR_S
    assert facts.our_key
    assert facts.by_authority
    assert facts.modes.problem() is None


def test_a_foreign_key_is_noticed(identity: IdentityFolder) -> None:
    identity.write("device.key", key_to_pem(Signer(bytes(31) + b"1")))
    facts = look_at_identity(identity, configured=KITCHEN)
    assert (facts.our_key, facts.by_authority) == (False, True)


def test_a_foreign_authority_is_noticed(
    identity: IdentityFolder, tmp_path: Path
) -> None:
    other = _fleet(tmp_path / "other", seed=2)
    identity.write("authority.crt", other.authority.certificate.pem)
    facts = look_at_identity(identity, configured=KITCHEN)
    assert (facts.our_key, facts.by_authority) == (True, False)


def test_a_certificate_that_is_damaged_says_so(identity: IdentityFolder) -> None:
    identity.write("device.crt", b"no certificate")
    with pytest.raises(ConfigError, match=r"device\.crt"):
        look_at_identity(identity, configured=KITCHEN)
