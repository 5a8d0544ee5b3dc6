"""Joining: what is on the disk afterwards, what is not, and every way it can fail."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.config import BrokerSettings, SecuritySettings
from edge_agent.joining.joining import hardware, identity_folder
from tests.edge_agent.joining.joins import configured, identity_of, joined
from tests.edge_agent.joining.scripted_desk import (
    END,
    Network,
    ScriptedDesk,
    new_fleet,
)
from wire_protocol.certificates import read_certificate
from wire_protocol.errors import (
    ConfigError,
    EdgefedError,
    Reason,
    RefusedError,
    TransportError,
)
from wire_protocol.link import Login
from wire_protocol.signing import Signer
from wire_protocol.tls import client_context

FILES = {
    *("device.key", "device.csr", "device.crt", "authority.crt"),
    "membership.json",
}


@pytest.fixture
def desk(tmp_path: Path) -> ScriptedDesk:
    return ScriptedDesk(tmp_path / "book.json")


def test_a_device_becomes_a_member(tmp_path: Path, desk: ScriptedDesk) -> None:
    member = joined(tmp_path, desk)
    identity = identity_of(tmp_path)
    assert identity.membership() == member
    assert (member.fleet, member.device) == ("home", "kitchen")
    assert (member.host, member.port) == ("127.0.0.1", 8883)
    assert desk.asked == 1  # for it listened before it asked
    assert identity.verifier().public == desk.signer.public
    found = read_certificate((identity.path / "device.crt").read_bytes())
    assert (found.name, found.not_after) == ("kitchen", END)
    assert found.public == identity.signer.public
    client_context(identity.tls)  # OpenSSL agrees


def test_nothing_but_the_membership_stays_and_only_for_its_owner(
    tmp_path: Path, desk: ScriptedDesk
) -> None:
    joined(tmp_path, desk)
    folder = identity_of(tmp_path).path
    assert {path.name for path in folder.rglob("*")} == FILES
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_member_joins_again_only_anew_and_with_a_new_key(
    tmp_path: Path, desk: ScriptedDesk
) -> None:
    joined(tmp_path, desk)
    first = identity_of(tmp_path).signer
    desk.open_another()
    with pytest.raises(RefusedError, match="'kitchen' of fleet 'home' already"):
        joined(tmp_path, desk)
    assert desk.asked == 1
    joined(tmp_path, desk, anew=True)
    assert identity_of(tmp_path).signer != first


def test_joining_again_with_the_same_token_changes_nothing(
    tmp_path: Path, desk: ScriptedDesk
) -> None:
    member = joined(tmp_path, desk)
    assert joined(tmp_path, desk) == member
    assert desk.asked == 1


@pytest.mark.parametrize("anew", [False, True])
def test_a_damaged_membership_can_be_replaced(
    tmp_path: Path, desk: ScriptedDesk, *, anew: bool
) -> None:
    joined(tmp_path, desk)
    (identity_of(tmp_path).path / "membership.json").write_bytes(b"{")
    desk.open_another()
    if anew:
        joined(tmp_path, desk, anew=True)
        return
    with pytest.raises(ConfigError, match=r"membership\.json"):
        joined(tmp_path, desk)


def test_a_vain_attempt_leaves_an_old_membership_as_it_was(
    tmp_path: Path, desk: ScriptedDesk
) -> None:
    joined(tmp_path, desk)
    folder = identity_of(tmp_path).path
    before = {name: (folder / name).read_bytes() for name in FILES}
    desk.open_another()
    desk.refusal = Reason.CLAIM_OVER
    with pytest.raises(RefusedError):
        joined(tmp_path, desk, anew=True)
    assert {name: (folder / name).read_bytes() for name in FILES} == before


WRONG = {
    "of another fleet": (ConfigError, {"fleet": "barn"}, "of fleet 'home'"),
    "for another device": (ConfigError, {"device": "attic"}, "for device 'kitchen'"),
}


@pytest.mark.parametrize(("kind", "told", "message"), WRONG.values(), ids=WRONG)
def test_a_token_that_is_not_meant_for_us_is_not_used(
    tmp_path: Path,
    desk: ScriptedDesk,
    kind: type[EdgefedError],
    told: dict[str, str],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        joined(
            tmp_path,
            desk,
            token=desk.token(device="kitchen"),
            **told,
        )
    assert desk.asked == 0
    assert not identity_of(tmp_path).path.exists()


REFUSALS = {
    Reason.CLAIM_OVER: "edgefed devices join",
    Reason.NAME_TAKEN: "edgefed devices forget kitchen",
    Reason.MALFORMED: "malformed",
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_refusal_says_what_to_do(
    tmp_path: Path, desk: ScriptedDesk, reason: Reason
) -> None:
    desk.refusal = reason
    with pytest.raises(RefusedError, match=REFUSALS[reason]) as raised:
        joined(tmp_path, desk)
    assert raised.value.remedy
    assert not list(identity_of(tmp_path).path.rglob("claim.*"))


def test_only_what_the_fleet_signed_is_an_answer(
    tmp_path: Path, desk: ScriptedDesk
) -> None:
    real = desk.signer
    token = desk.token()
    desk.signer = Signer(b"x" * 32)
    with pytest.raises(TransportError, match="not by the key that must have made it"):
        joined(tmp_path, desk, token=token, timeout_s=0.2)
    desk.signer = real
    joined(tmp_path, desk, token=token)  # with the same token


@pytest.mark.parametrize("other", ["authority", "key", "rubbish"])
def test_a_certificate_must_be_ours(
    tmp_path: Path, desk: ScriptedDesk, other: str
) -> None:
    token = desk.token()
    if other == "authority":
        desk.authority = new_fleet(2)
    elif other == "key":
        desk.vouches_for = Signer(b"o" * 32).public
    else:
        desk.sends = b"rubbish"
    with pytest.raises(RefusedError, match="a certificate that is not ours"):
        joined(tmp_path, desk, token=token)
    assert not identity_of(tmp_path).joined


def test_without_an_answer_the_same_token_works_later(
    tmp_path: Path, desk: ScriptedDesk
) -> None:
    desk.answers = False
    with pytest.raises(TransportError, match="no server of the fleet answered"):
        joined(tmp_path, desk, timeout_s=0.1)
    assert not list(identity_of(tmp_path).path.rglob("claim.*"))
    kept = (identity_of(tmp_path).path / "joining/device.key").read_bytes()
    desk.answers = True
    joined(tmp_path, desk)
    assert (identity_of(tmp_path).path / "device.key").read_bytes() == kept


def test_a_device_connects_as_its_claim_where_the_token_says(
    tmp_path: Path, desk: ScriptedDesk
) -> None:
    network = Network()
    joined(tmp_path, desk, network=network)
    (used,) = network.settings
    assert (used.host, used.port) == ("127.0.0.1", 8883)
    assert used.identity == desk.claim
    assert used.login is None
    assert used.tls is not None
    assert used.tls.certificate == tmp_path / "identity/joining/claim.crt"


def test_where_a_broker_wants_passwords_the_claim_is_only_signed_with(
    tmp_path: Path, desk: ScriptedDesk
) -> None:
    network = Network()
    told = BrokerSettings(
        host="127.0.0.1", port=1, username="pi", password_file=tmp_path / "password"
    )
    joined(tmp_path, desk, network=network, broker=told)
    (used,) = network.settings
    assert (used.host, used.port) == ("127.0.0.1", 1)
    assert used.login == Login("pi", tmp_path / "password")
    assert used.tls is not None
    assert used.tls.certificate is None
    assert used.tls.authority == tmp_path / "identity/joining/authority.crt"


def test_an_answer_that_was_lost_is_asked_for_again(
    tmp_path: Path, desk: ScriptedDesk
) -> None:
    lost = iter([b""])
    desk.spoil = lambda answer: next(lost, answer)
    joined(tmp_path, desk)
    assert desk.asked == 2


def test_a_configuration_without_a_folder_is_told_the_line(tmp_path: Path) -> None:
    config = replace(configured(tmp_path), security=SecuritySettings())
    with pytest.raises(ConfigError, match='identity_dir = "identity/kitchen"'):
        identity_folder(config)


def test_a_board_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    assert hardware(tmp_path / "model") == "Raspberry Pi 4 Model B Rev 1.4"
    assert hardware(tmp_path / "none")
