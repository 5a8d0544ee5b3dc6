"""Folders of the user's own: taken wherever a name is, and told what is wrong."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from model_zoo import own_folder, zoo
from model_zoo.data import catalog
from model_zoo.data.own_data import assemble
from tests.model_zoo.test_zoo_cli import run
from tools.cli import find_artifact
from wire_protocol.errors import ConfigError

WRONG_SHAPE = """\
from model_zoo.layers import dense
from model_zoo.model import Model, PlanDefaults
MODEL = Model(name="m", data="m", input_shape=(3,), outputs=2, batch=4,
    layers=(dense(5),), plan=PlanDefaults(1, 1, 0.1, 0.9))
"""
BROKEN = {
    "not there": (None, "has no definition.py"),
    "no Python": ("MODEL = (\n", r"definition.py, line 1: SyntaxError"),
    "a wrong name": ("x = 1\nMODEL = Model()\n", r"line 2: NameError: name 'Model'"),
    "no module": ("import no_such_thing\n", "line 1: ModuleNotFoundError"),
    "leaves": ("raise SystemExit(0)\n", "line 1: SystemExit"),
    "nothing": ("x = 1\n", "MODEL is missing"),
    "another thing": ("MODEL = 3\n", "MODEL is a int"),
    "a wrong shape": (
        WRONG_SHAPE,
        r"line 3: m ends in shape \(5,\), not \(2,\) - end with dense\(2\)",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_definition_is_told(name: str, tmp_path: Path) -> None:
    text, said = BROKEN[name]
    if text is not None:
        (tmp_path / "definition.py").write_text(text)
    with pytest.raises(ConfigError, match=said):
        zoo.model(str(tmp_path))


def test_a_zoo_s_name_is_its_own_whatever_folder_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits-mlp").mkdir()
    (tmp_path / "digits-mlp/definition.py").write_text("raise SystemExit")
    assert zoo.model("digits-mlp").layout.size == 13_098
    with pytest.raises(ConfigError, match="SystemExit"):
        zoo.model("./digits-mlp")


def test_a_model_that_is_not_built_says_how_to(tmp_path: Path) -> None:
    run("new", "own", "--out", str(tmp_path / "own"), "--empty")
    for look in (zoo.manifest, zoo.artifact_folder, find_artifact):
        with pytest.raises(ConfigError) as caught:
            look(str(tmp_path / "own"))
        assert f"edgefed zoo build {tmp_path / 'own'}" in caught.value.remedy


def test_a_broken_manifest_is_told(tmp_path: Path) -> None:
    run("new", "own", "--out", str(tmp_path / "own"), "--empty")
    (tmp_path / "own/artifact").mkdir()
    (tmp_path / "own/artifact/manifest.json").write_bytes(b"[" * 100_000)
    with pytest.raises(ConfigError, match="not a manifest"):
        zoo.manifest(str(tmp_path / "own"))


DATA = {
    "no function": ("x = 1\n", r"has no function examples\(\)"),
    "it fails": (
        "def examples():\n    yield [1], 1 / 0\n",
        "line 2: ZeroDivisionError",
    ),
    "nothing": ("def examples():\n    return []\n", "yields no examples"),
    "no pair": ("def examples():\n    yield 3\n", r"yields int 3, expected \(x, y\)"),
    "no triple": (
        "def by_device():\n    yield [1.0], 0\n",
        r"expected \(device, x, y\)",
    ),
    "other shapes": (
        "def examples():\n    yield [1.0], 0\n    yield [1.0, 2.0], 0\n",
        r"shape \[2\] after \[1\]",
    ),
    "text": ("def examples():\n    yield ['a'], 0\n", "ValueError: could not convert"),
    "a number": ("def examples():\n    yield 1.0, 0\n", "x is one number"),
    "not finite": ("def examples():\n    yield [float('nan')], 0\n", "not finite"),
    "negative": ("def examples():\n    yield [1.0], -1\n", "no.* class number from 0"),
    "uneven": (
        "def examples():\n    yield [1.0], [1.0]\n    yield [1.0], [1.0, 2.0]\n",
        "not the same count",
    ),
    "some devices": (
        "def by_device():\n    yield 'a', [1.0], 0\n    yield '', [1.0], 0\n",
        "others have none",
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_what_is_wrong_with_examples_is_told(name: str, tmp_path: Path) -> None:
    text, said = DATA[name]
    (tmp_path / "data.py").write_text(text)
    with pytest.raises(ConfigError, match=said):
        catalog.load(str(tmp_path), seed=0, environ={})


def test_examples_without_end_are_not_all_kept() -> None:
    endless = (("", np.ones(1, np.float32), 0) for _ in itertools.count())
    with pytest.raises(ConfigError, match="yields more than 100 examples"):
        assemble(endless, name="own", place="data.py", most=100)


def test_each_device_is_a_client_and_holds_out_its_last_fifth(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "def by_device():\n"
        "    for device in ('Living room', 'living  ROOM', 'b', 'c', 'd'):\n"
        "        for number in range(20):\n"
        "            yield device, [number], number % 2\n"
    )
    dataset = catalog.load(str(tmp_path), seed=0, environ={})
    assert dataset.clients == ("living-room", "b", "c", "d", "living-room-2")
    assert dataset.classes == ("0", "1")
    assert set(dataset.x[dataset.held_out, 0]) == {16, 17, 18, 19}
    assert {dataset.clients[one] for one in dataset.client[dataset.unseen]} == {
        "living-room-2"
    }
    assert catalog.entry(str(tmp_path)).default_model == str(tmp_path)


def test_numbers_to_learn_make_a_regression(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "def examples():\n    return [([k], [2 * k, k / 3]) for k in range(10)]\n"
    )
    dataset = catalog.load(str(tmp_path), seed=0, environ={})
    assert dataset.task == "regression"
    assert dataset.y.shape == (10, 2)
    assert dataset.clients == ()
    assert np.flatnonzero(dataset.held_out).tolist() == [8, 9]


def test_a_folder_s_module_is_gone_afterwards(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text("def examples():\n    return [([1.0], 0)] * 9\n")
    before = set(sys.modules)
    own_folder.load_examples(tmp_path)
    assert set(sys.modules) - before <= {"numpy"}
