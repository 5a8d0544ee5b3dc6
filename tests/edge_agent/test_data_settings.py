"""The section [data]: what may be said, and what is refused with what to do."""

from pathlib import Path

import pytest

from edge_agent.config import load_config
from wire_protocol.errors import ConfigError

HEAD = '[agent]\ndevice = "a"\nstate_dir = "s"\n'
MQTT = (
    'source = "mqtt"\n[data.window]\nmax_age_s = 1\n[data.mqtt]\nchannels.x = "t $"\n'
)


def load(folder: Path, data: str) -> object:
    path = folder / "agent.toml"
    path.write_text(HEAD + "[data]\n" + data)
    return load_config(path).data


def test_a_source_is_read_with_its_sections(tmp_path: Path) -> None:
    data = load(
        tmp_path,
        MQTT
        + '[data.labels]\nby = "topic"\ntopic = "b"\nclasses = { on = 1, off = 0 }\n'
        "[data.store]\nflush_s = 5\n",
    )
    assert repr(data).count("'x': 't $'") == 1
    assert "classes={'on': 1, 'off': 0}" in repr(data)
    assert "flush_s=5.0" in repr(data)


WRONG: dict[str, tuple[str, str]] = {
    "no examples": ("", "has no examples - add it"),
    "a source nobody knows": ('source = "csv"\n', "source is one of 'npz', 'folder'"),
    "no folder": ('source = "folder"\n', "has no folder.path"),
    "no channels": ('source = "mqtt"\n', "has no mqtt.channels"),
    "no entities": ('source = "statestream"\n', "has no statestream.entities"),
    "no hook": ('source = "python"\n', "has no python.file"),
    "an unknown key": (
        'source = "mqtt"\n[data.mqtt]\nchanels = {}\n',
        "[data.mqtt] has no key 'chanels' - did you mean 'channels'",
    ),
    "channels that are no texts": (
        MQTT.replace('"t $"', "3"),
        "channels is a table, each key with a text",
    ),
    "classes that are no numbers": (
        MQTT + '[data.labels]\nclasses = { a = "b" }\n',
        "classes is a table, each key with a whole number",
    ),
    "a class that is too high": (
        MQTT + "[data.labels]\nclasses = { a = 70000 }\n",
        "classes.a is 0 to 65535",
    ),
    "no age": (MQTT.replace("max_age_s = 1", ""), "has no window.max_age_s"),
    "no period": (
        (
            'source = "statestream"\n[data.window]\nmax_age_s = 1\n'
            '[data.statestream]\nentities.x = "a.b"\n'
        ),
        "has no window.period_s",
    ),
    "a period like none": (
        MQTT.replace("max_age_s = 1", "max_age_s = 1\nperiod_s = 1e-9"),
        "period_s is 0 or at least 0.001",
    ),
    "labels that a source has not": (
        MQTT + '[data.labels]\nby = "column"\ncolumn = "a"\n',
        'labels.by is "column", and source "mqtt" knows',
    ),
    "labels by a topic that is not named": (
        MQTT + '[data.labels]\nby = "topic"\n',
        'by = "topic" has no topic',
    ),
    "labels by a file without times": (
        (
            'source = "folder"\n[data.folder]\npath = "f"\n'
            '[data.labels]\nby = "file"\nfile = "l.csv"\n'
        ),
        "no folder.time",
    ),
    "a section without effect": (
        'examples = "e.npz"\n[data.mqtt]\ntopic = "a"\n',
        'has a section mqtt, but its source is "npz"',
    ),
    "examples without effect": ('examples = "e"\n' + MQTT, "has examples, but"),
    "more needed than kept": (
        'examples = "e"\n[data.store]\nmin_examples = 9\nmax_examples = 3\n',
        "min_examples 9 is more than max_examples",
    ),
    "nothing kept": (
        'examples = "e"\n[data.store]\nmax_examples = 0\n',
        "max_examples is 1 to",
    ),
    "a negative hop": ('examples = "e"\n[data.window]\nhop = -1\n', "hop is 0 to"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told_with_its_remedy(tmp_path: Path, name: str) -> None:
    data, problem = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, data)
    assert problem in str(caught.value)
    assert caught.value.remedy
