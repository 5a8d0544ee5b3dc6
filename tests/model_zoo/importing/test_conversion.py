"""A whole import: folder, weights, artifact and proof, on the smallest network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from broker_server.artifact import load_artifact
from model_zoo import zoo
from model_zoo.importing.conversion import convert
from model_zoo.importing.network import Network
from model_zoo.importing.network_files import read_network, write_network
from model_zoo.importing.onnx_network import read_onnx
from model_zoo.verify import verify
from tests.model_zoo.importing.foreign_networks import (
    ONNX_NETWORKS,
    mlp,
    node,
    onnx_model,
    torch_signal,
    weights,
    write,
)
from tests.model_zoo.test_zoo_cli import run
from wire_protocol.errors import ConfigError


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("import")
    path = write(mlp(), folder)
    words = ("--out", str(folder / "net"), "--train", "head", "--task", "regression")
    assert run("import", str(path), *words) == 0
    return folder / "net"


def test_the_server_starts_from_the_weights_of_the_file(imported: Path) -> None:
    artifact = load_artifact(imported / "artifact")
    assert artifact.initial is not None
    wanted = read_onnx(imported.parent / "net.onnx")
    kernel = artifact.manifest.layout.split(artifact.initial)[0]
    assert np.array_equal(kernel, wanted.operations[0].weights[0])


def test_only_the_head_is_trained(imported: Path) -> None:
    specs = zoo.model(str(imported)).layout.specs
    assert [spec.trainable for spec in specs] == [False, False, True, True]


def test_the_folder_verifies_and_is_built_again_alike(imported: Path) -> None:
    model = zoo.model(str(imported))
    checks = verify(model, imported / "artifact", steps=20)
    assert [check for check in checks if not check.passed] == []
    assert zoo.initial(str(imported)) is not None


def test_a_folder_with_something_in_it_is_left_alone(
    imported: Path, tmp_path: Path
) -> None:
    before = (imported / "definition.py").read_bytes()
    with pytest.raises(ConfigError, match="nothing is ever overwritten"):
        run("import", str(write(mlp(), tmp_path)), "--out", str(imported))
    assert (imported / "definition.py").read_bytes() == before


def test_weights_of_other_layers_are_refused(imported: Path, tmp_path: Path) -> None:
    text = (imported / "definition.py").read_text()
    (tmp_path / "definition.py").write_text(text.replace("dense(8)", "dense(9)"))
    (tmp_path / "initial.f32").write_bytes((imported / "initial.f32").read_bytes())
    with pytest.raises(ConfigError, match="does not hold 93 finite"):
        zoo.initial(str(tmp_path))


def test_what_computes_otherwise_is_not_written(tmp_path: Path) -> None:
    """An importer that is wrong is caught by its own proof."""

    def wrongly(path: Path) -> Network:
        network = read_onnx(path)
        first = network.operations[0]
        kernel = first.weights[0] * 1.01
        changed = replace(first, weights=(kernel, *first.weights[1:]))
        return replace(network, operations=(changed, *network.operations[1:]))

    path = write(mlp(), tmp_path)
    with pytest.raises(ConfigError, match="computes otherwise"):
        convert(path, folder=tmp_path / "new", name="wrong", read=wrongly)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["a b", "../up", "-", "x-", "A", "a" * 33])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no model name"):
        run("import", str(write(mlp(), tmp_path)), f"--name={name}")


def test_a_softmax_suits_no_regression(tmp_path: Path) -> None:
    path = write(torch_signal(), tmp_path)
    with pytest.raises(ConfigError, match="suits no regression"):
        run("import", str(path), "--task", "regression")


def test_unsupported_layers_come_out_of_the_sandbox(tmp_path: Path) -> None:
    model = onnx_model([node("Gelu", "x", "y", name="mine")], shape=["n", 3], outputs=3)
    with pytest.raises(ConfigError, match=r"mine \(Gelu\)") as caught:
        run("import", str(write(model, tmp_path)))
    assert caught.value.remedy.startswith("replace them")


@pytest.mark.parametrize("file", ["net.h5", "absent.onnx"])
def test_a_file_that_is_none_is_refused(file: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"neither|there is no file"):
        run("import", str(tmp_path / file))


@pytest.mark.parametrize("name", ONNX_NETWORKS)
def test_a_network_survives_the_way_between_processes(
    name: str, tmp_path: Path
) -> None:
    network = read_onnx(write(ONNX_NETWORKS[name](), tmp_path))
    write_network(network, tmp_path)
    again = read_network(tmp_path)
    assert replace(again, operations=()) == replace(network, operations=())
    for mine, theirs in zip(network.operations, again.operations, strict=True):
        assert (mine.kind, mine.args, mine.options) == (
            theirs.kind,
            theirs.args,
            theirs.options,
        )
        pairs = zip(mine.all_weights(), theirs.all_weights(), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    bad = weights(3, 3)
    bad[1, 1] = np.nan
    model = onnx_model([node("MatMul", "x w", "y")], shape=["n", 3], outputs=3, w=bad)
    with pytest.raises(ConfigError, match="not finite"):
        read_onnx(write(model, tmp_path))
