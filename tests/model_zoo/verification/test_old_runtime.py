"""An artifact in an environment of its own: the protocol, and what may go wrong.

LiteRT stands for tflite-runtime here, in a real environment made for the test; the slow
tests make the real one, which needs a network.
"""

import os
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest

from model_zoo import tflite_backend, zoo
from model_zoo.graphs import graphs
from model_zoo.runners import litert, oracle
from model_zoo.stepping import Settings, named, train
from model_zoo.verification.old_runtime import (
    cache_folder,
    environment,
    old_runtime,
)
from model_zoo.verify import verify
from tests.model_zoo.cases import CASES, batches_of, distance, params_of
from wire_protocol.errors import ConfigError, TrainingError

NAME = "digits-mlp"
FILE = zoo.artifact_folder(NAME) / "model.tflite"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    place = folder / "tflite-runtime-2.14"
    venv.create(place, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib"))
    (packages / "tflite_runtime").mkdir()
    (packages / "tflite_runtime" / "interpreter.py").write_text(
        "from ai_edge_litert.interpreter import Interpreter as Interpreter\n"
    )
    (place / "ready").touch()
    return folder


@pytest.fixture(scope="module")
def python(folder: Path) -> Path:
    said: list[str] = []
    python = environment(folder, say=said.append)
    assert not said  # it is there, and not made again
    return python


def test_an_artifact_runs_the_same_over_there(python: Path) -> None:
    model = zoo.model(NAME)
    params = params_of(model, seed=1)
    batches = list(batches_of(model, seed=2, steps=2))
    settings = Settings(0.05, momentum=0.9)
    here = train(litert(FILE.parent), params, batches=batches, settings=settings)
    with old_runtime(FILE, python=python) as run:
        there = train(run, params, batches=batches, settings=settings)
    assert there.losses == here.losses
    assert distance(there.params, here.params) == 0


def test_a_refused_input_leaves_the_runtime_in_use(python: Path) -> None:
    model = zoo.model(NAME)
    given = {**named("p", params_of(model, seed=1)), "x": np.zeros((32, 64), "f4")}
    with old_runtime(FILE, python=python) as run:
        with pytest.raises(TrainingError, match="tflite-runtime failed"):
            run("infer", {**given, "x": np.zeros((3, 2), np.float32)})
        assert run("infer", given)["outputs"].shape == (32, 10)


def test_a_file_that_is_no_model_ends_the_runtime(python: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.tflite").write_bytes(b"no model at all")
    with (
        pytest.raises(TrainingError, match="tflite-runtime ended with 1"),
        old_runtime(tmp_path / "odd.tflite", python=python) as run,
    ):
        run("infer", {})


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="cannot make an environment"):
        environment(tmp_path / "taken", say=lambda _: None)


def test_the_cache_folder_is_the_users() -> None:
    assert cache_folder({"HOME": "/h"}) == Path("/h/.cache/edgefed/runtimes")
    given = {"HOME": "/h", "XDG_CACHE_HOME": "/c"}
    assert cache_folder(given) == Path("/c/edgefed/runtimes")
    with pytest.raises(ConfigError, match="neither XDG_CACHE_HOME nor HOME"):
        cache_folder({})


@pytest.mark.parametrize("needed", [False, True])
def test_a_runtime_that_cannot_be_had_is_reported(
    needed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    checks = verify(
        zoo.model(NAME),
        FILE.parent,
        runtimes=("tflite-runtime",),
        needed=needed,
        steps=1,
    )
    (absent,) = [check for check in checks if not check.checked]
    assert absent.what == "tflite-runtime"
    assert "cannot make an environment" in absent.detail
    assert absent.passed is not needed


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_a_network_what_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ConfigError, match="tflite-runtime cannot be installed"):
        environment(tmp_path, say=lambda _: None)
    assert not (tmp_path / "tflite-runtime-2.14" / "ready").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_layer_computes_on_tflite_runtime_what_the_oracle_does(
    tmp_path: Path,
) -> None:
    python = environment(cache_folder(os.environ), say=lambda _: None)
    settings = Settings(learning_rate=0.05, momentum=0.9, mu=0.1)
    for name, model in CASES.items():
        file = tmp_path / f"{name}.tflite"
        file.write_bytes(tflite_backend.emit(graphs(model)))
        params = params_of(model, seed=1)
        batches = list(batches_of(model, seed=2, steps=3))
        wanted = train(
            oracle(model), params, batches=batches, settings=settings.of(model)
        )
        with old_runtime(file, python=python) as run:
            mine = train(run, params, batches=batches, settings=settings.of(model))
        assert distance(mine.params, wanted.params) < 2e-5, name


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_model_verifies_on_tflite_runtime(name: str) -> None:
    folder = zoo.artifact_folder(name)
    checks = verify(
        zoo.model(name), folder, runtimes=("litert", "tflite-runtime"), needed=True
    )
    assert [check for check in checks if not check.passed] == []
