"""ONNX files: what is imported computes the same, what is not is named."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from model_zoo.importing.network import UnsupportedError
from model_zoo.importing.onnx_network import read_onnx
from model_zoo.importing.original import run_onnx
from tests.model_zoo.importing.foreign_networks import (
    ONNX_NETWORKS,
    Make,
    gru_last,
    gru_state,
    gru_states,
    inputs_of,
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
    x = inputs_of(network, 5)
    wanted = run_onnx(path, theirs(network, x)).reshape(5, -1)
    found = outputs_of(network, x)
    assert np.abs(found.reshape(5, -1) - wanted).max() < 1e-5


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
    "a layer norm": (
        node("LayerNormalization", "x plane plane", "c", axis=2),
        "not over the channels",
    ),
    "a cut": (
        node("ConvTranspose", "x k", "c", strides=[2, 2], pads=[2, 2, 0, 0]),
        "no padding here does",
    ),
    "a shape": (
        node("ConvTranspose", "x k", "c", output_shape=[6, 6]),
        "an output_shape instead of pads",
    ),
    "between pixels": (
        node("Resize", "x none twice", "c", mode="linear"),
        "mode is 'linear'",
    ),
    "other pixels": (
        node(
            *("Resize", "x none twice", "c"),
            coordinate_transformation_mode="asymmetric",
            nearest_mode="ceil",
        ),
        "other pixels than the nearest",
    ),
    "half as many": (node("Resize", "x none half", "c"), "it enlarges"),
    "an instance norm": (
        node("InstanceNormalization", "x one4 one4", "c"),
        "has no counterpart",
    ),
    "a table": (node("Gather", "w x", "c"), "look up a vector"),
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
        none=np.empty(0, np.float32),
        twice=np.array([1, 1, 2, 2], np.float32),
        half=np.array([1, 1, 0.5, 0.5], np.float32),
        one4=np.ones(4, np.float32),
    )
    with pytest.raises(ConfigError, match=said):
        read_onnx(write(model, tmp_path))


def changed(make: Make, kind: str, **attributes: Any) -> onnx.ModelProto:
    """Return a network whose first node of a kind has other attributes."""
    model = make()
    found = next(one for one in model.graph.node if one.op_type == kind)
    for name, value in attributes.items():
        for old in [one for one in found.attribute if one.name == name]:
            found.attribute.remove(old)
        found.attribute.append(onnx.helper.make_attribute(name, value))
    return model


GRU_REFUSED = {
    "both ways": (changed(gru_last, "GRU", direction="bidirectional"), "direction"),
    "an older form": (changed(gru_last, "GRU", linear_before_reset=0), "linear_before"),
    "another activation": (
        changed(gru_last, "GRU", activations=["HardSigmoid", "Tanh"]),
        "not sigmoid and tanh",
    ),
    "a clip": (changed(gru_last, "GRU", clip=3.0), "has clip"),
    "time first": (changed(gru_last, "Transpose", perm=[0, 1, 2]), "from batches"),
    "another axis": (changed(gru_state, "Gather", axis=1), "from batches"),
    "a first state": (
        changed(
            gru_states,
            "ConstantOfShape",
            value=numpy_helper.from_array(np.ones(1, np.float32)),
        ),
        "a first state that is not 0",
    ),
}


@pytest.mark.parametrize("name", GRU_REFUSED)
def test_a_recurrent_unit_of_another_kind_is_refused(name: str, tmp_path: Path) -> None:
    model, said = GRU_REFUSED[name]
    with pytest.raises(ConfigError, match=said):
        read_onnx(write(model, tmp_path))


def test_a_state_between_is_not_taken_for_the_last(tmp_path: Path) -> None:
    model = gru_last()
    place = next(one for one in model.graph.initializer if one.name == "last")
    for index, fits in ((5, True), (4, False)):
        place.CopyFrom(numpy_helper.from_array(np.array(index, np.int64), "last"))
        path = write(model, tmp_path)
        if fits:
            assert [one.kind for one in read_onnx(path).operations] == ["gru", "dense"]
        else:
            with pytest.raises(ConfigError, match="a state between"):
                read_onnx(path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 5),
    stride=st.integers(1, 3),
    cut=st.integers(0, 2),
    longer=st.integers(0, 2),
)
def test_a_transposed_convolution_is_the_same_or_refused(
    tmp_path: Path, size: int, stride: int, cut: int, longer: int
) -> None:
    side = 3 * stride - stride + size - 2 * cut + longer
    assume(side > 0 and longer < stride)
    model = onnx_model(
        [
            node("MaxPool", "x", "p", kernel_shape=[2], strides=[2]),
            node(
                *("ConvTranspose", "p k", "t"),
                pads=[cut, cut],
                strides=[stride],
                output_padding=[longer],
            ),
            node("Flatten", "t", "f"),
            node("Gemm", "f w", "y"),
        ],
        shape=["n", 2, 6],
        outputs=2,
        k=weights(2, 1, size),
        w=weights(side, 2),
    )
    path = write(model, tmp_path)
    try:
        network = read_onnx(path)
    except UnsupportedError:
        # the one that autoencoders of PyTorch have is not among them
        assert (cut, longer) != ((size - 1) // 2, stride - 1) or size != 3
        return
    x = weights(2, *network.input_shape)
    wanted = run_onnx(path, theirs(network, x))
    assert np.allclose(outputs_of(network, x), wanted, atol=1e-5)


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
