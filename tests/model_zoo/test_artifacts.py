"""The artifacts that ship are those the definitions build, and they verify."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from model_zoo import zoo
from model_zoo.building import build, expected
from model_zoo.model import Model
from model_zoo.runners import litert, tflite_operators
from model_zoo.stepping import Settings, train
from model_zoo.verification.learnable import learnable
from model_zoo.verify import verify
from tests.model_zoo.cases import distance
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import FAMILIES, Manifest

EACH = pytest.mark.parametrize("model", zoo.MODELS.values(), ids=zoo.MODELS)
DEEP = {"kws-dscnn"}
"""In numpy, and for the converter, they take longer than all others together."""
EACH_IN_ITS_TIME = pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=[pytest.mark.slow] if name in DEEP else [], id=name)
        for name, model in zoo.MODELS.items()
    ],
)


@EACH_IN_ITS_TIME
def test_rebuilding_gives_what_ships(model: Model, tmp_path: Path) -> None:
    shipped = zoo.artifact_folder(model.name)
    rebuilt = build(model, tmp_path)
    ships = Manifest.from_json((shipped / "manifest.json").read_bytes())
    assert rebuilt.layout == ships.layout
    assert rebuilt.selftest == ships.selftest
    for name in FAMILIES["onnx"]:
        assert (tmp_path / name).read_bytes() == (shipped / name).read_bytes()
    # Another TensorFlow may order the file otherwise, but must mean the same by it.
    assert tflite_operators(tmp_path) == tflite_operators(shipped)
    outcomes = []
    for folder in (tmp_path, shipped):
        params = model.layout.split(model.layout.initial(np.random.default_rng(1)))
        batches = islice(learnable(model, seed=1), 3)
        outcomes.append(
            train(
                litert(folder),
                list(params),
                batches=batches,
                settings=Settings(0.05, momentum=0.9, mu=0.1).of(model),
            )
        )
    assert distance(outcomes[0].params, outcomes[1].params) < 1e-6


@EACH_IN_ITS_TIME
@pytest.mark.timeout(400)
def test_the_shipped_artifact_verifies(model: Model) -> None:
    checks = verify(model, zoo.artifact_folder(model.name), steps=10)
    assert [check for check in checks if not check.passed] == []


@EACH
def test_the_manifest_says_what_the_definition_says(model: Model) -> None:
    manifest = zoo.manifest(model.name)
    assert manifest.name == model.name
    assert manifest.input_shape == model.input_shape
    assert (manifest.outputs, manifest.batch) == (model.outputs, model.batch)
    assert manifest.layout == model.layout
    assert manifest.selftest == expected(model)
    assert all(manifest.family_files(family) for family in FAMILIES)


def test_a_changed_file_does_not_verify(tmp_path: Path) -> None:
    name = "digits-mlp"
    for file in zoo.artifact_folder(name).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    # An empty unknown field: the file still means what it meant.
    with (tmp_path / "infer.onnx").open("ab") as stream:
        stream.write(b"\x92\x01\x00")
    checks = verify(zoo.model(name), tmp_path, steps=2)
    failed = [check.what for check in checks if not check.passed]
    assert failed == ["files that differ from the manifest"]


def test_another_models_artifact_does_not_verify(tmp_path: Path) -> None:
    for file in zoo.artifact_folder("digits-mlp").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ConfigError, match="holds digits-mlp, not har-cnn1d"):
        verify(zoo.model("har-cnn1d"), tmp_path, steps=2)
