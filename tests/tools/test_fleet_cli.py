"""``edgefed fleet`` on real folders."""

import json
import time
from pathlib import Path

import pytest

from broker_server.config import load_config
from broker_server.fleet_folder import FleetFolder
from tests.tools.secrets_shown import assert_no_secret
from tools.cli import main
from tools.fleet.own_names import LOOPBACK, own_names


def test_init_says_what_to_do_next_and_it_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "fleet"
    words = ["fleet", "init", "--dir", str(folder), "--fleet", "attic"]
    assert main([*words, "--host", "broker.local"]) == 0
    shown = capsys.readouterr().out
    fleet = FleetFolder(folder).fleet
    assert fleet.hosts == ("broker.local", *LOOPBACK)
    # What it says to write into server.toml is what a server reads.
    lines = [line.strip() for line in shown.splitlines()]
    start = lines.index("[server]")
    text = "\n".join(lines[start : start + 7])
    text = text.replace("[server]", '[server]\nstate_dir = "state"')
    (tmp_path / "server.toml").write_text(f'{text}\n[model]\nartifact = "x"\n')
    config = load_config(tmp_path / "server.toml")
    assert config.security.fleet_dir == folder
    assert (config.broker.host, config.broker.port) == ("broker.local", 8883)
    assert config.server.fleet == "attic"
    assert_no_secret(folder, shown)


def test_a_second_init_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fleet", "init", "--dir", str(tmp_path / "fleet")]
    assert main(words) == 0
    assert main(words) == 3
    assert "holds a fleet already" in capsys.readouterr().err


def test_show_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "fleet"
    assert main(["fleet", "init", "--dir", str(folder), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert main(["fleet", "show", "--dir", str(folder), "--json"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text) == made
    assert made["fleet"] == "home"
    assert made["claims"] == {"open": 0, "used": 0, "over": 0}
    assert made["server_ends"] > time.strftime("%Y")
    assert main(["fleet", "show", "--dir", str(folder)]) == 0
    assert_no_secret(folder, text + capsys.readouterr().out)


def test_renew_keeps_the_authority_and_changes_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fleet"
    main(["fleet", "init", "--dir", str(path), "--host", "one.local"])
    folder = FleetFolder(path)
    before = folder.authority.certificate, folder.broker_certificate()
    assert main(["fleet", "renew", "--dir", str(path)]) == 0
    assert "still look for" not in capsys.readouterr().out
    assert folder.authority.certificate == before[0]
    assert folder.broker_certificate().serial != before[1].serial
    assert main(["fleet", "renew", "--dir", str(path), "--host", "two.local"]) == 0
    shown = capsys.readouterr().out
    assert "still look for one.local" in shown
    assert FleetFolder(path).fleet.hosts[0] == "two.local"
    assert_no_secret(path, shown)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["show", "--dir", "nowhere"], 2),
        (["init", "--dir", "x", "--fleet", "A b"], 2),
        (["init", "--dir", "x", "--host", "mqtt://x"], 2),
        (["init", "--dir", "x", "--port", "0"], 2),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fleet", *words]) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_this_machine_has_a_name() -> None:
    first, *_ = own_names()
    assert "." in first
    assert not {*LOOPBACK} & {*own_names()}
