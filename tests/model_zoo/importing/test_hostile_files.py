"""Hostile model files: a typed error, in bounded memory, whatever they hold."""

import io
import json
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from model_zoo.importing.conversion import read_foreign
from model_zoo.importing.keras_archive import MAX_WEIGHTS_BYTES, parse_config
from model_zoo.importing.keras_file import read_keras
from model_zoo.importing.network import CannotError
from model_zoo.importing.network_files import read_network, write_network
from model_zoo.importing.onnx_file import graph_of
from model_zoo.importing.onnx_network import network_of, read_onnx
from model_zoo.importing.sandbox import Limits, run_child
from tests.model_zoo.importing.foreign_networks import (
    ONNX_NETWORKS,
    mlp,
    torch_image,
    weights,
    write,
)
from wire_protocol.errors import ConfigError

FUZZ = settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
CONFIG: dict[str, Any] = {
    "class_name": "Sequential",
    "config": {
        "layers": [
            {
                "class_name": "InputLayer",
                "config": {"name": "i", "batch_shape": [0, 4]},
            },
            {
                "class_name": "Dense",
                "config": {"name": "d", "units": 3, "activation": "softmax"},
                "build_config": {"input_shape": [None, 4]},
            },
        ]
    },
}
CONFIG["config"]["layers"][0]["config"]["batch_shape"][0] = None


def h5(write_into: Callable[[Any], None]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write_into(file)
    return buffer.getvalue()


def _good(file: Any) -> None:
    file["layers/dense/vars/0"] = weights(4, 3)
    file["layers/dense/vars/1"] = weights(3)


GOOD = h5(_good)


@cache
def bomb() -> bytes:
    """Some 300 KB that become more than may be."""
    return keras_bytes(content=b"\0" * (MAX_WEIGHTS_BYTES + 1))


def keras_bytes(
    config: bytes | None = None,
    content: bytes | None = None,
    *,
    extra: str = "",
    packing: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        archive.writestr(
            "config.json", json.dumps(CONFIG).encode() if config is None else config
        )
        archive.writestr("model.weights.h5", h5(_good) if content is None else content)
        if extra:
            archive.writestr(extra, b"x")
    return buffer.getvalue()


def test_the_file_that_is_broken_below_is_a_good_one(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes(keras_bytes())
    network = read_keras(path)
    assert [one.kind for one in network.operations] == ["dense"]
    assert network.ending == "softmax"


def _objects(file: Any) -> None:
    _good(file)
    del file["layers/dense/vars/0"]
    data = file.create_dataset("layers/dense/vars/0", (4, 3), h5py.string_dtype())
    data[0, 0] = "cos\nsystem\n"


def _link(file: Any) -> None:
    _good(file)
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.ExternalLink("/etc/passwd", "/x")


def _soft_loop(file: Any) -> None:
    file["layers/dense/vars"] = h5py.SoftLink("/layers/dense/vars")


def _external(file: Any) -> None:
    _good(file)
    del file["layers/dense/vars/0"]
    file.create_dataset(
        "layers/dense/vars/0", (4, 3), "f4", external=[("/etc/passwd", 0, 48)]
    )


def _two_gigabytes(file: Any) -> None:
    """A claim only: nothing of it is written."""
    _good(file)
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", (1 << 29,), "f4", chunks=(1 << 20,))


def _not_finite(file: Any) -> None:
    _good(file)
    file["layers/dense/vars/0"][1, 1] = np.nan


DEEP = b"[" * 200_000
KERAS: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "no .keras file"),
    "text": (lambda: b"not a zip", "no .keras file"),
    "cut": (lambda: keras_bytes()[:-40], "no .keras file"),
    "an empty zip": (lambda: b"PK\5\6" + bytes(18), "has not one config.json"),
    "a path that climbs": (lambda: keras_bytes(extra="../x"), "no member '../x'"),
    "an absolute path": (lambda: keras_bytes(extra="/etc/x"), "no member"),
    "two of one": (lambda: _twice(keras_bytes(extra="confix.json")), "has not one"),
    "deep JSON": (lambda: keras_bytes(DEEP), "is not JSON"),
    "a list": (lambda: keras_bytes(b"[]"), "no configuration"),
    "a zip bomb": (bomb, "are read"),
    "a bomb that lies": (lambda: _lying(bomb()), "more than|no .ke"),
    "no HDF5": (lambda: keras_bytes(content=b"x" * 2000), "no HDF5 file"),
    "objects": (lambda: keras_bytes(content=h5(_objects)), "not plain floats"),
    "a link out": (lambda: keras_bytes(content=h5(_link)), "not in the file"),
    "a loop": (lambda: keras_bytes(content=h5(_soft_loop)), "not in the file"),
    "data elsewhere": (lambda: keras_bytes(content=h5(_external)), "not plain"),
    "2 GB": (lambda: keras_bytes(content=h5(_two_gigabytes)), "configuration makes"),
    "NaN": (lambda: keras_bytes(content=h5(_not_finite)), "not finite"),
    "no weights": (lambda: keras_bytes(content=h5(lambda _: None)), "not in the file"),
}


def _twice(content: bytes) -> bytes:
    return content.replace(b"confix.json", b"config.json")


def _lying(content: bytes) -> bytes:
    """Let a member claim to be small: in the central directory and before it."""
    size = struct.pack("<I", MAX_WEIGHTS_BYTES + 1)
    return content.replace(size, struct.pack("<I", 1000))


@pytest.mark.parametrize("name", KERAS)
def test_a_hostile_keras_file_is_refused(name: str, tmp_path: Path) -> None:
    make, said = KERAS[name]
    path = tmp_path / "net.keras"
    path.write_bytes(make())
    with pytest.raises(ConfigError, match=said):
        read_keras(path)


def _mlp_with(change: Callable[[Any], None]) -> bytes:
    model = mlp()
    change(model)
    return bytes(model.SerializeToString())


def _external_tensor(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"


def _subgraph(model: Any) -> None:
    attribute = model.graph.node[1].attribute.add()
    attribute.name, attribute.type = "body", onnx.AttributeProto.GRAPH
    attribute.g.CopyFrom(mlp().graph)
    model.graph.node[1].op_type = "Loop"


def _set(field: str, value: object) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = model.graph.initializer[0]
        current = getattr(tensor, field)
        if isinstance(value, list):
            del current[:]
            current.extend(value)
        else:
            setattr(tensor, field, value)

    return change


ONNX: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "has 0 nodes"),
    "text": (lambda: b"not a model at all", "no ONNX file"),
    "cut": (lambda: mlp().SerializeToString()[:-30], "no ONNX file"),
    "claims 2 GB": (
        lambda: _mlp_with(_set("dims", [1 << 15, 1 << 14])),
        "more than are read",
    ),
    "claims beyond 64 bits": (
        lambda: _mlp_with(_set("dims", [1 << 40, 1 << 40])),
        "more than are read",
    ),
    "negative sides": (lambda: _mlp_with(_set("dims", [-8, -6])), "more than are read"),
    "another shape": (lambda: _mlp_with(_set("dims", [8, 7])), "claims 56 values"),
    "text tensors": (lambda: _mlp_with(_set("data_type", 8)), "element type 8"),
    "a protobuf of 2 GB": (lambda: _claiming(mlp().SerializeToString()), "no ONNX"),
    "another file": (lambda: _mlp_with(_external_tensor), "lies in another file"),
    "a loop": (lambda: _mlp_with(_subgraph), "no counterpart"),
    "an own domain": (
        lambda: _mlp_with(lambda m: setattr(m.graph.node[1], "domain", "evil")),
        r"evil\.Relu",
    ),
    "functions": (
        lambda: _mlp_with(lambda m: m.functions.add(name="f", domain="d")),
        "has functions",
    ),
    "two outputs": (
        lambda: _mlp_with(lambda m: m.graph.output.append(m.graph.output[0])),
        "2 outputs",
    ),
    "no shape": (
        lambda: _mlp_with(lambda m: m.graph.input[0].type.Clear()),
        "takes no float32",
    ),
    "NaN": (
        lambda: _mlp_with(_set("raw_data", np.full(48, np.nan, "<f4").tobytes())),
        "not finite",
    ),
}


def _claiming(content: bytes) -> bytes:
    """Put a field in front that claims to be 2 GB long."""
    return b"\x3a\xff\xff\xff\xff\x07" + content


@pytest.mark.parametrize("name", ONNX)
def test_a_hostile_onnx_file_is_refused(name: str, tmp_path: Path) -> None:
    make, said = ONNX[name]
    path = tmp_path / "net.onnx"
    path.write_bytes(make())
    with pytest.raises(ConfigError, match=said):
        read_onnx(path)


@pytest.mark.parametrize("suffix", [".keras", ".onnx"])
def test_a_file_of_2_gb_is_never_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    with path.open("wb") as file:
        file.truncate(2 << 30)  # sparse
    with pytest.raises(ConfigError, match="larger than 300 MiB"):
        read_foreign(path)


@pytest.mark.parametrize("name", ["a zip bomb", "objects"])
def test_through_the_sandbox_it_is_the_same_error(name: str, tmp_path: Path) -> None:
    make, said = KERAS[name]
    path = tmp_path / "net.keras"
    path.write_bytes(make())
    with pytest.raises(ConfigError, match=said):
        read_foreign(path)


CHILDREN = {
    "memory": ("x = bytearray(1 << 33)", "MemoryError"),
    "a crash": ("import os; os.abort()", "died of SIGABRT"),
    "time": ("while True: pass", "died of SIGXCPU"),
}


@pytest.mark.parametrize("name", CHILDREN)
def test_a_library_that_blows_up_harms_nobody(name: str, tmp_path: Path) -> None:
    code, said = CHILDREN[name]
    (tmp_path / "blow_up.py").write_text(
        "from model_zoo.importing.sandbox import Limits, limit_myself\n"
        f"limit_myself(Limits(memory_mib=2048, seconds=1))\n{code}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
        with pytest.raises(ConfigError, match=said):
            run_child("blow_up", [], limits=Limits(memory_mib=2048, seconds=30))


def test_the_readers_memory_is_bounded(tmp_path: Path) -> None:
    """Its limit holds: the whole of it is set before a byte of the file is read."""
    code = (
        "import resource, sys\n"
        "from model_zoo.importing import reading\n"
        f"reading.main([{str(tmp_path / 'absent.onnx')!r}, {str(tmp_path)!r}])\n"
        "print(resource.getrlimit(resource.RLIMIT_AS)[1] >> 20)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].endswith("3072")
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


SEEDS = {
    "onnx": torch_image().SerializeToString(),
    "keras": keras_bytes(packing=zipfile.ZIP_STORED),
}


def mutated(content: bytes, places: list[int], values: list[int], cut: int) -> bytes:
    raw = bytearray(content)
    for place, value in zip(places, values, strict=False):
        raw[place % len(raw)] = value
    return bytes(raw[: len(raw) - cut % (len(raw) // 4)] if cut else raw)


PLACES = st.lists(st.integers(0, 1 << 20), min_size=1, max_size=6)
VALUES = st.lists(st.integers(0, 255), min_size=6, max_size=6)


@FUZZ
@given(places=PLACES, values=VALUES, cut=st.integers(0, 3) | st.integers(0, 1 << 16))
def test_whatever_an_onnx_file_holds_is_read_or_refused(
    places: list[int], values: list[int], cut: int
) -> None:
    content = mutated(SEEDS["onnx"], places, values, cut)
    try:
        network = network_of(graph_of(content, name="fuzz"))
    except (ConfigError, CannotError):
        return
    assert all(np.isfinite(w).all() for o in network.operations for w in o.weights)


@FUZZ
@given(places=PLACES, values=VALUES, cut=st.integers(0, 3) | st.integers(0, 1 << 16))
def test_whatever_a_keras_file_holds_is_read_or_refused(
    tmp_path: Path, places: list[int], values: list[int], cut: int
) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes(mutated(SEEDS["keras"], places, values, cut))
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
    write_network(read_onnx(write(ONNX_NETWORKS["mlp"](), tmp_path)), tmp_path)
    path = tmp_path / "network.json"
    path.write_bytes(mutated(path.read_bytes(), places, values, cut))
    try:
        network = read_network(tmp_path)
    except ConfigError:
        return
    assert network.operations is not None
