"""Valid model files with bytes changed: read, or refused with a typed error."""

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_zoo.importing.keras_archive import parse_config
from model_zoo.importing.keras_file import read_keras
from model_zoo.importing.network import CannotError
from model_zoo.importing.network_files import read_network, write_network
from model_zoo.importing.onnx_file import graph_of
from model_zoo.importing.onnx_network import network_of, read_onnx
from tests.model_zoo.importing.foreign_archives import CONFIG, keras_bytes
from tests.model_zoo.importing.foreign_networks import ONNX_NETWORKS, mlp, write
from wire_protocol.errors import ConfigError

FUZZ = settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

NETWORKS = [make() for make in ONNX_NETWORKS.values()]
ONNX = [network.SerializeToString() for network in NETWORKS]
KERAS = keras_bytes(packing=zipfile.ZIP_STORED)


def mutated(content: bytes, places: list[int], values: list[int], cut: int) -> bytes:
    raw = bytearray(content)
    for place, value in zip(places, values, strict=False):
        raw[place % len(raw)] = value
    return bytes(raw[: len(raw) - cut % (len(raw) // 4)] if cut else raw)


PLACES = st.lists(st.integers(0, 1 << 20), min_size=1, max_size=6)
VALUES = st.lists(st.integers(0, 255), min_size=6, max_size=6)


@FUZZ
@given(
    seed=st.sampled_from(ONNX),
    places=PLACES,
    values=VALUES,
    cut=st.integers(0, 3) | st.integers(0, 1 << 16),
)
def test_whatever_an_onnx_file_holds_is_read_or_refused(
    seed: bytes, places: list[int], values: list[int], cut: int
) -> None:
    content = mutated(seed, places, values, cut)
    try:
        network = network_of(graph_of(content, name="fuzz"))
    except (ConfigError, CannotError):
        return
    assert all(np.isfinite(w).all() for o in network.operations for w in o.weights)


KINDS = sorted({one.op_type for net in NETWORKS for one in net.graph.node})
ATTRIBUTES = st.sampled_from([
    *(0, 1, -1, 2, 1 << 40, 1.0, math.nan, "x", ["a"], [1.5]),
    *([0, 1], [1, 1], [2, 2, 2], [-1, 0, 1], [1, 0, 2], [2, 0, 1]),
])  # fmt: skip
TENSORS = st.sampled_from([
    *(np.array(-1), np.array([1]), np.array([0, 2, -1]), np.array([0, 0, 0])),
    *(np.array([-2]), np.array([], np.int64), np.array([1 << 62]), np.zeros(0)),
    *(np.array(one, np.float32) for one in ([1, 1, 2, 2], [math.nan], 3)),
    np.ones((2, 3, 4), np.float32),
])  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn) -> onnx.ModelProto:
    """A valid network with a few nodes, edges, attributes or tensors replaced."""
    model = onnx.ModelProto()
    model.CopyFrom(draw(st.sampled_from(NETWORKS)))
    graph = model.graph
    tensors = [*(t for one in graph.node for t in (*one.input, *one.output)), "", "?"]
    for change in draw(st.lists(st.integers(0, 6), min_size=1, max_size=4)):
        one = draw(st.sampled_from(list(graph.node)))
        match change:
            case 0 | 1:
                edges = one.output if change else one.input
                if edges:
                    place = draw(st.integers(0, len(edges) - 1))
                    edges[place] = draw(st.sampled_from(tensors))
            case 2:
                one.op_type = draw(st.sampled_from(KINDS))
            case 3 if one.attribute:
                old = draw(st.sampled_from(list(one.attribute)))
                one.attribute.remove(old)
                value = draw(ATTRIBUTES)
                one.attribute.append(onnx.helper.make_attribute(old.name, value))
            case 4 if graph.initializer:
                tensor = draw(st.sampled_from(list(graph.initializer)))
                new = onnx.numpy_helper.from_array(np.asarray(draw(TENSORS)))
                new.name = tensor.name
                tensor.CopyFrom(new)
            case 5 if one.input:
                del one.input[-1]
            case _:
                one.input.append(draw(st.sampled_from(tensors)))
    return model


@settings(FUZZ, max_examples=300)
@given(model=spoilt())
def test_whatever_is_in_a_graph_is_read_or_refused(model: onnx.ModelProto) -> None:
    try:
        network = network_of(graph_of(model.SerializeToString(), name="fuzz"))
    except (ConfigError, CannotError):
        return
    assert all(np.isfinite(w).all() for o in network.operations for w in o.weights)


@FUZZ
@given(places=PLACES, values=VALUES, cut=st.integers(0, 3) | st.integers(0, 1 << 16))
def test_whatever_a_keras_file_holds_is_read_or_refused(
    tmp_path: Path, places: list[int], values: list[int], cut: int
) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes(mutated(KERAS, places, values, cut))
    try:
        network = read_keras(path)
    except ConfigError:
        return
    assert all(np.isfinite(w).all() for o in network.operations for w in o.weights)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["class_name", "config", "layers", "name", "units"]), inner
        )
    ),
    max_leaves=12,
)


@FUZZ
@given(
    key=st.sampled_from(["units", "activation", "name", "use_bias", "build_config"]),
    value=JSON,
    whole=JSON,
    which=st.integers(0, 3),
)
def test_whatever_a_configuration_says_is_read_or_refused(
    tmp_path: Path, key: str, value: Any, whole: Any, which: int
) -> None:
    config = json.loads(json.dumps(CONFIG))
    match which:
        case 0:
            config = whole
        case 1:
            config["config"]["layers"] = whole
        case 2:
            config["config"]["layers"][1]["config"][key] = value
        case _:
            config["config"]["layers"][1][key] = value
    path = tmp_path / "net.keras"
    path.write_bytes(keras_bytes(json.dumps(config).encode()))
    try:
        read_keras(path)
    except ConfigError:
        return
    assert isinstance(parse_config(json.dumps(config).encode()), dict)


@FUZZ
@given(places=PLACES, values=VALUES, cut=st.integers(0, 3))
def test_what_the_reader_hands_over_is_not_trusted(
    tmp_path: Path, places: list[int], values: list[int], cut: int
) -> None:
    write_network(read_onnx(write(mlp(), tmp_path)), tmp_path)
    path = tmp_path / "network.json"
    path.write_bytes(mutated(path.read_bytes(), places, values, cut))
    try:
        network = read_network(tmp_path)
    except ConfigError:
        return
    assert network.operations is not None
