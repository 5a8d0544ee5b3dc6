"""The agent's configuration file."""

from pathlib import Path

import pytest

from edge_agent.config import load_config
from edge_agent.presence import link_settings
from wire_protocol.errors import ConfigError, EdgefedError, RefusedError

EXAMPLE = Path(__file__).parents[2] / "firmware_configs" / "examples" / "agent.toml"
GOOD = '[agent]\ndevice = "a"\nstate_dir = "s"\n[data]\nexamples = "e.npz"\n'


def test_the_example_is_valid() -> None:
    config = load_config(EXAMPLE)
    assert config.agent.device == "kitchen"
    assert config.data.examples == EXAMPLE.parent / "examples.npz"


def test_defaults_fill_what_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(GOOD)
    config = load_config(path)
    assert (config.agent.fleet, config.agent.runtime, config.agent.threads) == (
        "home",
        "auto",
        1,
    )
    settings = link_settings(config)
    assert (settings.host, settings.port) == ("127.0.0.1", 1883)
    assert settings.tls is None
    assert settings.login is None
    assert (config.data.holdout, config.data.seed) == (0.2, 0)


WRONG: dict[str, tuple[str, type[EdgefedError], str]] = {
    "an unknown key": (
        GOOD.replace("state_dir", "state_dri"),
        ConfigError,
        "did you mean 'state_dir'",
    ),
    "no data": (
        GOOD.split("[data]", maxsplit=1)[0],
        ConfigError,
        r"\[data\] has no examples",
    ),
    "a device that is no topic": (
        GOOD.replace('"a"', '"Küche/1"'),
        ConfigError,
        "is not 1 to 32 of a-z",
    ),
    "a runtime nobody knows": (
        GOOD.replace("[data]", 'runtime = "torch"\n[data]'),
        ConfigError,
        "runtime is one of 'auto', 'litert'",
    ),
    "too many threads": (
        GOOD.replace("[data]", "threads = 0\n[data]"),
        ConfigError,
        "threads is 1 to 64, not 0",
    ),
    "all held out": (GOOD + "holdout = 1.0\n", ConfigError, "holdout is a fraction"),
    "a negative seed": (GOOD + "seed = -1\n", ConfigError, "seed is 0 or more"),
    "a port that is none": (
        GOOD + "[broker]\nport = 70000\n",
        ConfigError,
        "port is 1 to 65535",
    ),
    "a broker elsewhere": (
        GOOD + '[broker]\nhost = "192.168.1.2"\n',
        RefusedError,
        "plain MQTT can be read by all.*edgefed agent join",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told_with_its_remedy(tmp_path: Path, name: str) -> None:
    content, kind, message = WRONG[name]
    path = tmp_path / "agent.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(kind, match=message) as caught:
        load_config(path)
    assert caught.value.remedy


def test_a_missing_file_names_the_example(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"firmware_configs/examples/agent\.toml"):
        load_config(tmp_path / "agent.toml")
