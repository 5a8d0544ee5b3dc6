"""What docs/examples.md shows works as it is written there."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest

from edge_agent.config import load_config
from edge_agent.data_settings import DataSettings
from edge_agent.feeding import open_examples
from edge_agent.state_files import StateFiles

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/examples.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "firmware_configs/examples/agent.toml").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
(CODE,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


def keys(kind: type) -> set[str]:
    """Return every key of a section and of those in it."""
    found = set()
    for item in fields(kind):
        section = item.default_factory
        if is_dataclass(section) and isinstance(section, type):
            found |= {item.name} | keys(section)
        else:
            found.add(item.name)
    return found


@pytest.mark.parametrize("key", sorted(keys(DataSettings)))
def test_every_key_is_in_the_example(key: str) -> None:
    assert re.search(rf"^#? ?(\[data\.)?{key}\b", EXAMPLE, re.MULTILINE)


def test_every_source_is_shown() -> None:
    sources = {re.search(r'source = "(\w+)"', block)[1] for block in BLOCKS}  # type: ignore[index]
    assert sources == {"npz", "folder", "mqtt", "statestream", "python"}


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_configuration_that_is_shown_opens(tmp_path: Path, block: str) -> None:
    x = np.zeros((9, 50, 3), np.float32)
    np.savez(tmp_path / "examples.npz", x=x, y=np.zeros(9, np.int32))
    (tmp_path / "recordings").mkdir()
    rows = "".join(f"{n / 100},{n},0,1\n" for n in range(500))
    (tmp_path / "recordings" / "a.csv").write_text("t,ax,ay,az\n" + rows)
    (tmp_path / "labels.csv").write_text("start,end,label\n0,2,idle\n2,9,walking\n")
    (tmp_path / "my_sensor.py").write_text(CODE)
    path = tmp_path / "agent.toml"
    path.write_text('[agent]\ndevice = "a"\nstate_dir = "s"\n' + block)
    config = load_config(path)
    opened = open_examples(config.data, files=StateFiles(config.agent.state_dir))
    recorded = config.data.source in ("npz", "folder")
    assert (opened.store.count() > 0) == recorded
    assert (opened.feed is None) == (config.data.source == "npz")


def test_the_function_that_is_shown_yields_examples() -> None:
    space: dict[str, object] = {}
    exec(CODE, space)  # it is what people are told to run
    made = list(space["examples"](990))  # type: ignore[operator]
    assert [(x.shape, y) for x, y in made[:2]] == [((32,), 0), ((32,), 1)]
    assert len(made) == 10
