"""The whole command, against real brokers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from broker_server.store import DATABASE, Store
from edge_agent.state_files import held_alone
from tests.tools.doctor.fleets import Home, secured_home
from tests.tools.doctor.test_findings import SCHEMA
from tools.cli import main
from tools.doctor.cli import side_of
from wire_protocol.errors import ConfigError

pytestmark = pytest.mark.broker

AGENT = """\
[agent]
device = "kitchen"
state_dir = "state"
[data]
examples = "examples.npz"
[broker]
host = "localhost"
port = {port}
"""
SERVER = """\
[server]
state_dir = "state"
[model]
artifact = "digits-mlp"
[broker]
host = "localhost"
port = {port}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with secured_home(tmp_path_factory.mktemp("home")) as made:
        yield made


def _config(folder: Path, text: str, **values: object) -> Path:
    path = folder / "config.toml"
    path.write_text(text.format(**values))
    x = np.zeros((50, 64), np.float32)
    np.savez(folder / "examples.npz", x=x, y=np.zeros(50, np.int64))
    return path


def _secured(home: Home, folder: Path, *, side: str) -> Path:
    key, path = {
        "device": ("identity_dir", home.identity.path),
        "server": ("fleet_dir", home.fleet.path),
    }[side]
    text = AGENT if side == "device" else SERVER
    more = f'[security]\n{key} = "{path}"\n'
    return _config(folder, text + more, port=home.port)


class Run:
    """What ``edgefed doctor`` said."""

    def __init__(self, code: int, out: str) -> None:
        self.code = code
        self.report: dict[str, Any] = json.loads(out)
        jsonschema.validate(self.report, SCHEMA)
        self.findings = {one["check"]: one for one in self.report["findings"]}

    def verdict(self, check: str) -> str:
        return str(self.findings[check]["verdict"])

    def failures(self) -> dict[str, str]:
        """Return what failed, without what the machine under test may lack."""
        return {
            name: one["found"]
            for name, one in self.findings.items()
            if one["verdict"] == "failed" and name not in ("memory", "temperature")
        }


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(path: Path, *more: str) -> Run:
        code = main(["doctor", "--config", str(path), "--json", *more])
        return Run(code, capsys.readouterr().out)

    return run


@pytest.mark.slow
def test_a_plain_device_is_examined(
    broker_port: int, tmp_path: Path, doctor: Any
) -> None:
    run = doctor(_config(tmp_path, AGENT, port=broker_port))
    assert run.report["side"] == "device"
    assert run.failures() == {}
    assert run.verdict("packet size") == "ok"
    assert run.verdict("access") == "warning"
    assert run.verdict("identity") == run.verdict("tls") == "not measured"
    assert run.findings["examples"]["measured"] == {"training": 40, "holdout": 10}
    assert not (tmp_path / "state").exists()


def test_a_plain_server_is_examined(
    broker_port: int, tmp_path: Path, doctor: Any
) -> None:
    Store.open(tmp_path / "state").close()
    run = doctor(_config(tmp_path, SERVER, port=broker_port))
    assert run.report["side"] == "server"
    assert run.failures() == {}
    for check in ("qos 1", "packet size", "access", "database", "artifact"):
        assert run.verdict(check) == "ok"
    assert run.verdict("strangers") == "not measured"


def test_a_member_of_a_fleet_is_all_right(
    home: Home, tmp_path: Path, doctor: Any
) -> None:
    run = doctor(_secured(home, tmp_path, side="device"))
    assert run.failures() == {}
    for check in ("identity", "tls", "mqtt", "qos 1", "retain", "packet size"):
        assert run.verdict(check) == "ok", run.findings[check]
    assert run.verdict("access") == "ok"
    assert run.findings["access"]["measured"]["refused"] >= 8
    assert run.findings["tls"]["measured"]["version"] == "TLSv1.3"


def test_a_fleets_server_is_all_right(home: Home, tmp_path: Path, doctor: Any) -> None:
    run = doctor(_secured(home, tmp_path, side="server"))
    assert run.failures() == {}
    for check in ("fleet", "tls", "qos 1", "packet size", "access"):
        assert run.verdict(check) == "ok", run.findings[check]
    # 1883 may be somebody else's on the machine under test
    assert run.findings["strangers"]["measured"]["port"] is False


def test_a_running_agent_is_not_thrown_off(
    home: Home, tmp_path: Path, doctor: Any
) -> None:
    path = _secured(home, tmp_path, side="device")
    with held_alone(tmp_path / "state"):
        run = doctor(path, "--only", "agent,tls,access")
    assert list(run.findings) == [
        *("configuration", "agent", "broker name", "tcp", "tls", "mqtt", "access")
    ]
    assert run.findings["agent"]["found"] == "the agent is running"
    assert run.verdict("tls") == "ok"  # no client id is in that
    assert run.verdict("mqtt") == run.verdict("access") == "not measured"
    assert "stop the agent" in run.findings["mqtt"]["remedy"]
    assert run.code == 0


@pytest.mark.slow
def test_a_running_server_is_visited_by_somebody_else(
    home: Home, tmp_path: Path, doctor: Any
) -> None:
    path = _secured(home, tmp_path, side="server")
    visited = "server,tls,packet size,retain,access,strangers"
    with Store.open(tmp_path / "state"):
        run = doctor(path, "--only", visited)
    assert run.findings["server"]["found"] == "the server is running"
    for check in ("tls", "qos 1", "packet size", "retain", "access"):
        assert run.verdict(check) == "ok", run.findings[check]
    # as the server it would have been allowed everything
    assert run.findings["access"]["measured"]["refused"] >= 8
    assert home.fleet.members().keys() == {"kitchen"}


def test_lax_rules_are_found_out(tmp_path: Path, doctor: Any) -> None:
    with secured_home(tmp_path, rules="pattern readwrite #\n") as home:
        run = doctor(_secured(home, tmp_path, side="device"), "--only", "access")
    assert run.code == 1
    assert "lets this device write d/edgefed-doctor/doctor" in run.failures()["access"]


def test_a_device_that_was_revoked_knows_it(tmp_path: Path, doctor: Any) -> None:
    with secured_home(tmp_path, revoked=("kitchen",)) as home:
        path = _secured(home, tmp_path, side="device")
        run = doctor(path, "--only", "identity,tls,mqtt")
    assert run.code == 1
    assert "revoked" in run.failures()["tls"]
    assert "revoked" in run.failures()["mqtt"]
    assert run.verdict("identity") == "ok"  # the device cannot know it by itself


def test_damage_and_open_secrets_are_found_out(
    broker_port: int, tmp_path: Path, doctor: Any
) -> None:
    Store.open(tmp_path / "state").close()
    database = tmp_path / "state" / DATABASE
    raw = bytearray(database.read_bytes())
    raw[36:40] = b"\0\0\0\5"  # five free pages, of which there are none
    database.write_bytes(raw)
    (tmp_path / "password").write_text("secret-word\n")
    (tmp_path / "password").chmod(0o644)
    more = 'username = "server"\npassword_file = "password"\n'
    path = _config(tmp_path, SERVER + more, port=broker_port)
    run = doctor(path)
    assert run.code == 1
    assert set(run.failures()) == {"password", "database", "strangers"}
    assert "is damaged" in run.failures()["database"]
    assert "secret-word" not in json.dumps(run.report)


def test_what_nobody_listens_to_is_found_out_and_the_rest_still_told(
    tmp_path: Path, doctor: Any
) -> None:
    run = doctor(_config(tmp_path, AGENT, port=1), "--only", "tcp,mqtt,examples")
    assert run.code == 1
    assert set(run.failures()) == {"tcp"}
    assert run.verdict("mqtt") == "not measured"
    assert run.verdict("examples") == "ok"


def test_a_device_that_has_not_joined_is_told_so_once(
    tmp_path: Path, doctor: Any
) -> None:
    more = '[security]\nidentity_dir = "identity"\n'
    run = doctor(_config(tmp_path, AGENT + more, port=1), "--only", "identity,mqtt")
    assert set(run.failures()) == {"identity"}
    assert "edgefed agent join" in run.findings["identity"]["remedy"]
    assert run.verdict("broker name") == run.verdict("mqtt") == "not measured"


def test_a_broker_of_the_servers_own_waits_for_it(tmp_path: Path, doctor: Any) -> None:
    text = SERVER.replace('host = "localhost"\n', "")
    run = doctor(_config(tmp_path, text, port=18_831))
    assert run.failures() == {}
    assert run.verdict("broker program") == "ok"
    assert "start it" in run.findings["broker name"]["remedy"]


def test_a_wrong_configuration_is_a_finding(tmp_path: Path, doctor: Any) -> None:
    run = doctor(_config(tmp_path, AGENT + "prot = 5\n", port=1883))
    assert run.code == 1
    assert list(run.findings) == ["configuration"]
    assert run.findings["configuration"]["remedy"].startswith("did you mean 'p")


def test_people_get_lines(
    broker_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _config(tmp_path, SERVER, port=broker_port)
    assert main(["doctor", "--config", str(path), "--only", "tcp,artifact"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok            configuration")
    assert lines[-3].startswith("ok            artifact        digits-mlp")
    assert lines[-1] == "4 ok, 0 warning, 0 failed, 0 not measured"


def test_a_check_that_is_not_there_is_refused(
    broker_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _config(tmp_path, SERVER, port=broker_port)
    assert main(["doctor", "--config", str(path), "--only", "tpc"]) == 2
    assert "there is no check 'tpc' - choose of: server," in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "side"), [("[agent]\n", "device"), ("[server]\n", "server")]
)
def test_a_file_shows_whose_it_is(tmp_path: Path, text: str, side: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    assert side_of(tmp_path / "x.toml") == side


@pytest.mark.parametrize("text", ["", "[agent]\n[server]\n", "[", None])
def test_a_file_that_does_not_is_refused(
    tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError):
        side_of(path)
    assert main(["doctor", "--config", str(path)]) == 2
    assert " - " in capsys.readouterr().err
