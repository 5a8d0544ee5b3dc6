"""The server's settings: what is refused, and in which words."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from broker_server.artifact import load_artifact
from broker_server.config import ServerConfig, load_config
from tests.broker_server.small_server import write_artifact
from wire_protocol.errors import ConfigError, EdgefedError, RefusedError
from wire_protocol.settings import read_settings

EXAMPLE = Path(__file__).parents[2] / "firmware_configs" / "examples" / "server.toml"
MINIMAL: dict[str, Any] = {"server": {"state_dir": "s"}, "model": {"artifact": "tiny"}}

BAD: dict[str, tuple[dict[str, Any], type[EdgefedError], str]] = {
    "unknown key": ({"round": {"round": 3}}, ConfigError, "did you mean 'rounds'"),
    "unknown section": ({"rounds": {}}, ConfigError, "did you mean 'round'"),
    "wrong type": ({"round": {"rounds": "3"}}, ConfigError, "whole number"),
    "fraction": ({"round": {"fraction": 1.5}}, ConfigError, "fraction is from 0 to 1"),
    "goal under minimum": (
        {"round": {"goal": 2, "minimum": 3}},
        ConfigError,
        "goal 2 is under minimum 3",
    ),
    "nobody late, nobody waited for": (
        {"round": {"mode": "buffered", "max_staleness": 0}},
        ConfigError,
        "raise max_staleness",
    ),
    "over-selection": ({"round": {"over_select": 0.5}}, ConfigError, "from 1 to 10"),
    "mode": ({"round": {"mode": "async"}}, ConfigError, "one of 'sync', 'buffered'"),
    "codec": ({"codec": {"uplink": "gzip"}}, ConfigError, "uplink"),
    "optimizer": ({"optimizer": {"name": "adam"}}, ConfigError, "one of"),
    "block": ({"server": {"state_dir": "s", "block_bytes": 1}}, ConfigError, "1024"),
    "fleet": ({"server": {"state_dir": "s", "fleet": "A B"}}, ConfigError, "fleet"),
    "no state_dir": ({"server": {}}, ConfigError, "state_dir"),
    "port 0 of another's broker": (
        {"broker": {"host": "127.0.0.1", "port": 0}},
        ConfigError,
        "port is from 1",
    ),
    "another machine": ({"broker": {"host": "10.0.0.5"}}, RefusedError, "10.0.0.5"),
    "limits": ({"limits": {"burst_bytes": 10}}, ConfigError, "burst_bytes is from"),
    "amqtt for a fleet": (
        {"broker": {"kind": "amqtt"}, "security": {"fleet_dir": "fleet"}},
        RefusedError,
        "knows no certificates",
    ),
    "listening without a fleet": (
        {"broker": {"listen": "0.0.0.0"}},
        RefusedError,
        "for this machine only",
    ),
    "listening in clear": (
        {
            "broker": {"listen": "0.0.0.0", "tls": False},
            "security": {"fleet_dir": "fleet"},
        },
        RefusedError,
        "for this machine only",
    ),
    "listening for another": (
        {"broker": {"listen": "0.0.0.0", "host": "127.0.0.1"}},
        ConfigError,
        "leave listen out, or host",
    ),
    "convergence unseen": (
        {"convergence": {"patience": 3}, "round": {"evaluate": False}},
        ConfigError,
        "evaluate = true",
    ),
}


@pytest.mark.parametrize(("change", "kind", "says"), BAD.values(), ids=list(BAD))
def test_a_bad_setting_is_refused_in_one_line(
    change: dict[str, Any], kind: type[EdgefedError], says: str
) -> None:
    with pytest.raises(kind) as refused:
        read_settings(ServerConfig, {**MINIMAL, **change}, source="server.toml")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_example_shows_every_key_and_its_defaults(tmp_path: Path) -> None:
    shown = load_config(EXAMPLE)
    bare = tmp_path / "server.toml"
    bare.write_text('[server]\nstate_dir = "s"\n[model]\nartifact = "digits-mlp"\n')
    default = load_config(bare)
    for name in ("plan", "codec", "optimizer", "convergence", "broker", "limits"):
        assert getattr(shown, name) == getattr(default, name)
    assert (shown.round.rounds, default.round.rounds) == (15, 0)
    text = EXAMPLE.read_text()
    keys = tomllib.loads(text)
    for section in keys.keys() - {"broker", "model", "security"}:
        assert set(keys[section]) == set(getattr(shown, section).__slots__)
    for section in ("broker", "security"):  # some only as a comment
        for key in getattr(shown, section).__slots__:
            assert re.search(rf"^#? ?{key} = ", text, re.MULTILINE)


def test_without_a_host_the_server_starts_its_own_broker() -> None:
    def starts_own(**broker: object) -> bool:
        mapping = {**MINIMAL, "broker": broker}
        config = read_settings(ServerConfig, mapping, source="server.toml")
        return config.broker.starts_own

    assert starts_own()
    assert not starts_own(host="127.0.0.1")
    assert not starts_own(embedded=False)
    assert starts_own(host="127.0.0.1", embedded=True)


def test_an_artifact_is_checked_against_its_manifest(tmp_path: Path) -> None:
    folder = write_artifact(tmp_path)
    assert load_artifact(folder).families == ("tflite",)
    (folder / "model.tflite").write_bytes(b"another model")
    with pytest.raises(ConfigError, match="the manifest expects"):
        load_artifact(folder)
    (folder / "manifest.json").write_bytes(b"{}")
    with pytest.raises(ConfigError, match="not a manifest"):
        load_artifact(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_artifact(folder)
