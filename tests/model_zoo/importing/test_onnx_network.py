"""ONNX files: what is imported computes the same, what is not is named."""

from pathlib import Path

import numpy as np
import pytest

from model_zoo.importing.network import UnsupportedError
from model_zoo.importing.onnx_network import read_onnx
from model_zoo.importing.original import run_onnx
from tests.model_zoo.importing.foreign_networks import (
    ONNX_NETWORKS,
    mlp,
    node,
    onnx_model,
    outputs_of,
    theirs,
    torch_image,
    weights,
    write,
)
from wire_protocol.errors import ConfigError


@pytest.mark.parametrize("name", ONNX_NETWORKS)
def test_an_import_computes_what_the_file_does(name: str, tmp_path: Path) -> None:
    path = write(ONNX_NETWORKS[name](), tmp_path)
    network = read_onnx(path)
    x = weights(5, *network.input_shape)
    wanted = run_onnx(path, theirs(network, x))
    assert np.abs(outputs_of(network, x) - wanted).max() < 1e-5


def test_another_weight_gives_other_outputs(tmp_path: Path) -> None:
    """The comparison above would notice."""
    model = torch_image()
    network = read_onnx(write(model, tmp_path))
    network.operations[0].weights[0][0, 0, 0, 0] += 0.5
    x = weights(5, *network.input_shape)
    wanted = run_onnx(tmp_path / "net.onnx", theirs(network, x))
    assert np.abs(outputs_of(network, x) - wanted).max() > 1e-4


def test_a_batch_norm_is_taken_up_by_the_convolution(tmp_path: Path) -> None:
    network = read_onnx(write(torch_image(), tmp_path))
    kinds = [operation.kind for operation in network.operations]
    assert kinds == [
        *("conv2d", "relu", "max_pool", "zero_pad", "conv2d", "tanh"),
        *("flatten", "dense"),
    ]
    assert network.ending == "softmax"


def test_every_unsupported_operator_is_listed(tmp_path: Path) -> None:
    model = onnx_model(
        [
            node("Erf", "x", "a", name="first"),
            node("Relu", "a", "b"),
            node("Einsum", "b", "y", name="second", equation="ij->ij"),
        ],
        shape=["n", 3],
        outputs=3,
    )
    with pytest.raises(UnsupportedError) as caught:
        read_onnx(write(model, tmp_path))
    found = [(one.name, one.kind) for one in caught.value.found]
    assert found == [("first", "Erf"), ("second", "Einsum")]
    assert caught.value.exit_code == 2
    assert "first (Erf): has no counterpart here" in str(caught.value)


REFUSED = {
    "a dilation": (node("Conv", "x k", "c", dilations=[2, 2]), "dilations are not 1"),
    "groups": (node("Conv", "x k", "c", group=2), "it has 2 groups"),
    "strides": (node("Conv", "x k", "c", strides=[1, 2]), "only equal ones"),
    "lower": (node("Conv", "x k", "c", auto_pad="SAME_LOWER"), "auto_pad"),
    "overlap": (
        node("MaxPool", "x", "c", kernel_shape=[3, 3], strides=[2, 2]),
        "windows overlap",
    ),
    "rounding up": (
        node("MaxPool", "x", "c", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        "ceil_mode",
    ),
    "a reshape": (node("Reshape", "x flat", "c"), "does not flatten"),
    "a clip": (node("Clip", "x zero one", "c"), "not to 0 and 6"),
    "a product": (node("MatMul", "x w", "c"), "not one dimension"),
    "an odd constant": (node("Add", "x plane", "c"), "not one for each channel"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_layer_cannot_do_is_said(name: str, tmp_path: Path) -> None:
    first, said = REFUSED[name]
    model = onnx_model(
        [
            first,
            node("Conv", "c k2", "d"),
            node("GlobalAveragePool", "d", "e"),
            node("Flatten", "e", "y"),
        ],
        shape=["n", 4, 6, 6],
        outputs=2,
        k=weights(4, 2 if name == "groups" else 4, 3, 3),
        k2=weights(2, 4, 1, 1),
        flat=np.array([-1, 4, 36], np.int64),
        zero=np.array(0, np.float32),
        one=np.array(1, np.float32),
        w=weights(6, 6),
        plane=weights(6, 6),
    )
    with pytest.raises(ConfigError, match=said):
        read_onnx(write(model, tmp_path))


def test_branches_that_do_not_meet_straight_are_refused(tmp_path: Path) -> None:
    model = onnx_model(
        [
            node("Gemm", "x w1", "a"),
            node("Gemm", "x w1", "b"),
            node("Add", "a b", "y"),
        ],
        shape=["n", 3],
        outputs=3,
        w1=weights(3, 3),
    )
    with pytest.raises(ConfigError, match="joins two branches"):
        read_onnx(write(model, tmp_path))


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    model = mlp()
    model.graph.node[0].input[0] = model.graph.node[2].output[0]
    with pytest.raises(ConfigError, match="too entangled"):
        read_onnx(write(model, tmp_path))
