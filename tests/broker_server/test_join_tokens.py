"""Tokens: what is in them, and what is not left behind of them."""

from pathlib import Path

import pytest

from broker_server.fleet_folder import FleetFolder
from broker_server.join_tokens import open_claims
from tests.broker_server.small_fleet import NOW, applicant, drawn, member, small_fleet
from tests.tools.secrets_shown import assert_no_secret
from wire_protocol.certificates import check_issued, read_certificate
from wire_protocol.enrolment import JoinToken, TokenParts, token_frame
from wire_protocol.errors import ConfigError, RefusedError
from wire_protocol.framing import expect


@pytest.fixture
def folder(tmp_path: Path) -> FleetFolder:
    return small_fleet(tmp_path)


def test_a_token_has_all_that_a_device_needs(folder: FleetFolder) -> None:
    ((claim, token),) = open_claims(
        folder, device="hall", for_s=60.0, now=NOW, random=drawn("x")
    )
    head, body = expect(JoinToken, token_frame(token))
    parts = TokenParts.from_bytes(body)
    certificate = read_certificate(parts.certificate)
    authority = read_certificate(parts.authority)
    check_issued(certificate, by=authority)
    assert authority == folder.authority.certificate
    assert parts.fleet_key == folder.signer.public
    assert (
        (head.claim, head.device)
        == (claim.claim, "hall")
        == (certificate.name, claim.device)
    )
    assert certificate.not_after == claim.until == NOW + 60.0
    assert certificate.public.hex() == claim.public
    assert folder.claim(claim.claim) == claim


def test_nothing_of_a_tokens_secret_stays_on_the_disk(folder: FleetFolder) -> None:
    joining = applicant(folder, "kitchen")
    for path in folder.path.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            assert joining.claim_key.seed not in raw
            if path.suffix != ".key":
                text = raw.decode("latin-1")
                assert_no_secret(folder.path, text, joining.claim_key)


def test_tokens_differ(folder: FleetFolder) -> None:
    made = open_claims(folder, count=20, for_s=60.0, now=NOW, random=drawn("x"))
    for one in zip(
        *((token, claim.claim, claim.public, claim.serial) for claim, token in made),
        strict=True,
    ):
        assert len(set(one)) == 20


@pytest.mark.parametrize(
    ("for_s", "count", "device", "error"),
    [
        (0.0, 1, "", ConfigError),
        (86_401.0, 1, "", ConfigError),
        (60.0, 0, "", ConfigError),
        (60.0, 1001, "", ConfigError),
        (60.0, 2, "hall", ConfigError),
        (60.0, 1, "a/b", ConfigError),
        (60.0, 1, "kitchen", RefusedError),
    ],
)
def test_what_cannot_be_makes_no_claim(
    folder: FleetFolder,
    for_s: float,
    count: int,
    device: str,
    error: type[Exception],
) -> None:
    member(folder, "kitchen")
    before = folder.claims()
    with pytest.raises(error):
        open_claims(
            folder,
            count=count,
            device=device,
            for_s=for_s,
            now=NOW,
            random=drawn("x"),
        )
    assert folder.claims() == before
