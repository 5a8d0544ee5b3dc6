"""Each side's checks: all documented, and nothing of the other side loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from broker_server.config import (
    BrokerSection,
    ModelSection,
    ServerConfig,
    ServerSection,
)
from edge_agent.config import AgentConfig, BrokerSettings, DeviceSettings
from edge_agent.data_settings import DataSettings
from tools.doctor.device_checks import device_checks
from tools.doctor.examination import Check, chosen
from tools.doctor.server_checks import server_checks
from wire_protocol.errors import ConfigError

DOCUMENT = (Path(__file__).parents[3] / "docs/doctor.md").read_text(encoding="utf-8")


def _checks(folder: Path) -> list[Check]:
    password = folder / "password"
    device = AgentConfig(
        DeviceSettings("kitchen", folder),
        DataSettings(examples=folder / "x.npz"),
        BrokerSettings(username="kitchen", password_file=password),
    )
    server = ServerConfig(
        ServerSection(folder),
        ModelSection("digits-mlp"),
        BrokerSection(username="server", password_file=password),
    )
    return [
        *device_checks(device),
        *server_checks(server, find_artifact=lambda name: folder / name),
    ]


def test_every_check_is_documented(tmp_path: Path) -> None:
    for check in _checks(tmp_path):
        assert f"\n| `{check.name}` |" in DOCUMENT


def test_what_a_check_needs_comes_before_it(tmp_path: Path) -> None:
    before: set[str] = set()
    for check in _checks(tmp_path):
        assert before >= set(check.needs)
        before.add(check.name)


@pytest.mark.parametrize(
    ("side", "other"), [("device", "broker_server"), ("server", "edge_agent")]
)
def test_only_the_side_that_is_asked_for_is_loaded(side: str, other: str) -> None:
    program = (
        f"import sys, tools.doctor.cli, tools.doctor.{side}_checks; "
        f"sys.exit('{other}' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == 0


def test_a_choice_brings_what_it_needs_and_no_more(tmp_path: Path) -> None:
    device = _checks(tmp_path)[:20]
    names = [check.name for check in chosen(device, ["retain", "disk"])]
    assert names == ["broker name", "tcp", "mqtt", "qos 1", "retain", "disk"]
    with pytest.raises(ConfigError, match="no check 'dsik'"):
        chosen(device, ["dsik"])
