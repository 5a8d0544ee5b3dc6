"""``edgefed zoo new``: what it writes runs as it is, and overwrites nothing."""

from pathlib import Path

import numpy as np
import pytest

from edge_agent.data_settings import PythonSettings
from edge_agent.sources.hook import example_of, load_hook
from model_zoo import zoo
from model_zoo.data import catalog
from model_zoo.data.federation import federate
from model_zoo.recipe import read_recipes
from model_zoo.scaffold.samples import DEVICES, LABELS
from model_zoo.scaffold.writing import KINDS
from tests.model_zoo.test_zoo_cli import run
from wire_protocol.errors import ConfigError

EACH = pytest.mark.parametrize("kind", KINDS)


@EACH
def test_model_and_made_up_data_fit(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    assert run("new", "door-bell", "--data", kind, "--out", str(folder)) == 0
    model = zoo.model(str(folder))
    dataset = catalog.load(str(folder), seed=0, environ={})
    assert model.name == "door-bell"
    assert model.labels == LABELS
    assert dataset.example_shape == model.input_shape
    assert dataset.classes == model.labels
    assert sorted(dataset.clients) == sorted(DEVICES)
    federation = federate(dataset, seed=0)
    assert len(federation.shards) == len(DEVICES)
    assert len(federate(dataset, seed=0, unseen=True).shards) == len(DEVICES) - 1


@EACH
def test_a_device_reads_the_same_examples(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    run("new", "own", "--data", kind, "--out", str(folder))
    hook = load_hook(PythonSettings(file=folder / "data.py"))
    whole = [example_of(item) for item in hook(0)]
    rest = [example_of(item) for item in hook(7)]
    assert len(rest) == len(whole) - 7
    assert np.array_equal(rest[0][0], whole[7][0])
    assert whole[0][0].shape == zoo.model(str(folder)).input_shape


@EACH
def test_the_recipe_names_the_folder(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / 'a "b"'
    run("new", "own", "--data", kind, "--out", str(folder))
    recipe = read_recipes(folder / "recipe.toml")["held-out"]
    assert len(catalog.load(recipe.data, seed=0, environ={})) > 100


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/data.py").write_text("mine")
    (tmp_path / "away").symlink_to(tmp_path / "nowhere")
    for name in ("taken", "full", "away"):
        with pytest.raises(ConfigError, match="overwritten"):
            run("new", "own", "--out", str(tmp_path / name))
    assert (tmp_path / "full/data.py").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_an_empty_folder_is_taken_and_samples_left_out(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    run("new", "own", "--out", str(tmp_path / "own"), "--empty")
    assert not (tmp_path / "own/data").exists()
    with pytest.raises(ConfigError, match="yields no examples"):
        catalog.load(str(tmp_path / "own"), seed=0, environ={})


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "A", "a b", "a--b", "-a", "1a", "a" * 33, 'a"', ""]
)
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no model name"):
        run("new", "--out", str(tmp_path / "own"), "--", name)
    assert not (tmp_path / "own").exists()
