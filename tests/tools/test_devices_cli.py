"""``edgefed devices`` on real folders."""

import json
import stat
from pathlib import Path

import pytest

from broker_server.assessment import Fault
from broker_server.fleet_folder import FleetFolder
from broker_server.reputation import Reputation
from broker_server.store import Store
from tests.broker_server.small_fleet import ask, key_of, member, small_fleet
from tests.tools.secrets_shown import assert_no_secret
from tools.cli import main
from tools.devices.durations import seconds_of
from wire_protocol.certificates import read_certificate, read_revocation_list
from wire_protocol.enrolment import JoinToken, TokenParts, token_frame
from wire_protocol.errors import ConfigError
from wire_protocol.framing import expect
from wire_protocol.messages import CheckIn
from wire_protocol.signing import Signer

QUARANTINED = Reputation(
    "kitchen", judged=5, quarantines=1, until=99, reason=Fault.NOTHING
)


@pytest.fixture
def folder(tmp_path: Path) -> FleetFolder:
    made = small_fleet(tmp_path)
    member(made, "kitchen")
    return made


def run(folder: FleetFolder, *words: str) -> int:
    return main(["devices", *words, "--fleet-dir", str(folder.path)])


def listed(folder: FleetFolder) -> frozenset[str]:
    return read_revocation_list((folder.path / "revoked.crl").read_bytes())[1]


def key_in(token: str) -> Signer:
    _, body = expect(JoinToken, token_frame(token))
    return Signer(TokenParts.from_bytes(body).seed)


def test_join_prints_a_token_and_nothing_else(
    folder: FleetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "join", "--for", "10m", "--device", "hall") == 0
    shown = capsys.readouterr()
    head, body = expect(JoinToken, token_frame(shown.out))
    assert shown.out.count("\n") == 1
    assert (head.host, head.port, head.fleet, head.device) == (
        *("broker.local", 8883),
        *("test", "hall"),
    )
    parts = TokenParts.from_bytes(body)
    certificate = read_certificate(parts.certificate)
    assert certificate.name == head.claim
    assert parts.fleet_key == folder.signer.public
    claim = folder.claim(head.claim)
    assert claim is not None
    assert claim.until - certificate.not_after < 1
    assert certificate.public == Signer(parts.seed).public
    assert "edgefed agent join" in shown.err
    # The token is its claim's key; the fleet's own keys are in neither.
    assert_no_secret(folder.path, shown.err, Signer(parts.seed))
    assert_no_secret(folder.path, shown.out)


def test_many_tokens_go_to_a_file_of_ones_own(
    folder: FleetFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tokens"
    words = ("join", "--count", "3", "--out", str(out), "--json")
    assert run(folder, *words) == 0
    text = capsys.readouterr().out
    tokens = out.read_text().splitlines()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    claims = {expect(JoinToken, token_frame(token))[0].claim for token in tokens}
    assert claims == {one["claim"] for one in json.loads(text)["claims"]}
    assert len(claims) == 3
    assert_no_secret(folder.path, text, *(key_in(token) for token in tokens))
    before = len(folder.claims())
    assert run(folder, *words) == 3  # the file is there
    assert len(folder.claims()) == before
    assert out.read_text().splitlines() == tokens


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["join", "--for", "25h"], 2),
        (["join", "--for", "0s"], 2),
        (["join", "--for", "soon"], 2),
        (["join", "--json"], 2),
        (["join", "--count", "2"], 2),
        (["join", "--count", "0", "--out", "x"], 2),
        (["join", "--count", "2", "--device", "hall", "--out", "x"], 2),
        (["join", "--device", "../hall"], 2),
        (["join", "--device", "kitchen"], 3),
        (["show", "nobody"], 2),
        (["show", "../x"], 2),
        (["revoke", "nobody"], 2),
        (["forget", "nobody"], 2),
        (["release", "nobody"], 2),
        (["rename", "nobody", "x"], 2),
        (["rename", "kitchen", ""], 2),
        (["rename", "kitchen", "a\x1b[2Jb"], 2),
        (["revoke", "kitchen", "--why", "a\nb"], 2),
        (["claims", "--withdraw", "../x"], 2),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_line_and_changes_nothing(
    folder: FleetFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = folder.changed
    assert run(folder, *words) == code
    shown = capsys.readouterr()
    assert shown.err.startswith("edgefed: ")
    assert shown.err.count("\n") == 1
    assert not shown.out
    assert folder.changed == before
    assert not (tmp_path / "x").exists()


def test_list_and_show(
    folder: FleetFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    member(folder, "hall")
    folder.revoke("hall", why="stolen", now=2e9)
    assert run(folder, "list", "--json") == 0
    hall, kitchen = json.loads(capsys.readouterr().out)
    assert (kitchen["device"], kitchen["state"]) == ("kitchen", "member")
    assert (hall["state"], hall["why"]) == ("revoked", "stolen")
    assert hall["last_seen"] is None
    # With the server's configuration, also what the server knows.
    config = tmp_path / "server.toml"
    config.write_text(
        '[server]\nstate_dir = "state"\nfleet = "test"\n[model]\nartifact = "x"\n'
        '[broker]\nhost = "broker.local"\n[security]\nfleet_dir = "fleet"\n'
    )
    words = ["devices", "show", "kitchen", "--config", str(config), "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["num_examples"] is None
    with Store.open(tmp_path / "state") as store:
        store.note_device("kitchen", CheckIn(1, "litert", "tflite", (), 120), at=2e9)
        with store.together():
            store.reputation_log.keep([QUARANTINED])
    assert main(words) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["num_examples"], shown["last_seen"]) == (120, "2033-05-18T03:33:20Z")
    assert shown["standing"] == "quarantined"
    assert shown["reputation"]["until_round"] == 99
    assert main(words[:-1]) == 0
    assert "its updates said nothing" in capsys.readouterr().out
    assert main(["devices", "list", "--config", str(config)]) == 0
    text = capsys.readouterr().out
    assert run(folder, "show", "hall") == 0
    text += capsys.readouterr().out
    assert "stolen" in text
    assert_no_secret(folder.path, text, key_of("kitchen"))


def test_release_asks_the_server(
    folder: FleetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "release", "kitchen") == 0
    assert "out of quarantine" in capsys.readouterr().out
    assert folder.pardons() == ["kitchen"]
    folder.drop_pardon("kitchen")
    assert folder.pardons() == []


def test_a_server_without_a_fleet_has_no_devices_to_manage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "server.toml"
    config.write_text('[server]\nstate_dir = "state"\n[model]\nartifact = "x"\n')
    assert main(["devices", "list", "--config", str(config)]) == 2
    assert "edgefed fleet init" in capsys.readouterr().err


def test_revoke_rename_and_forget(
    folder: FleetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    serial = folder.known_member("kitchen").serial
    assert run(folder, "rename", "kitchen", "Küche, unten") == 0
    assert folder.known_member("kitchen").label == "Küche, unten"
    assert run(folder, "revoke", "kitchen", "--why", "lost", "--json") == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["why"] == "lost"
    assert listed(folder) == {serial}
    assert run(folder, "revoke", "kitchen") == 0
    assert "revoked.crl" in capsys.readouterr().out
    assert folder.known_member("kitchen").why == "lost"
    assert run(folder, "forget", "kitchen") == 0
    assert not folder.members()
    assert listed(folder) == {serial}
    # Its id is free.
    again = member(folder, "kitchen")
    assert again.device in folder.members()


def test_claims_are_shown_and_withdrawn(
    folder: FleetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "join") == 0
    token = capsys.readouterr().out
    head, _ = expect(JoinToken, token_frame(token))
    assert run(folder, "claims", "--json") == 0
    text = capsys.readouterr().out
    states = {one["claim"]: one for one in json.loads(text)}
    assert states[head.claim]["state"] == "open"
    (used,) = (one for one in states.values() if one["state"] == "used")
    assert used["device"] == "kitchen"
    assert_no_secret(folder.path, text, key_in(token))
    assert run(folder, "claims", "--withdraw", used["claim"]) == 3
    claim = folder.claim(head.claim)
    assert claim is not None
    assert run(folder, "claims", "--withdraw", head.claim) == 0
    assert listed(folder) == {claim.serial}
    assert run(folder, "claims") == 0
    assert head.claim not in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30.0), ("10m", 600.0), (" 2h ", 7200.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-1m", "1d", "1.5h", "1m30s", "²m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigError):
        seconds_of(text)


def test_tokens_of_the_command_line_are_taken_at_the_desk(folder: FleetFolder) -> None:
    """What ``join`` makes is what the desk serves: one way to make claims."""
    before = len(folder.members())
    joining = member(folder, "cellar")
    (again,) = ask(folder, joining.letter())
    assert again.frame is not None
    assert len(folder.members()) == before + 1
