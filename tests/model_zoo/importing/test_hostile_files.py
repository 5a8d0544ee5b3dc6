"""Hostile model files: a typed error, in bounded memory, whatever they hold."""

import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from model_zoo.importing.conversion import read_foreign
from model_zoo.importing.keras_archive import MAX_WEIGHTS_BYTES
from model_zoo.importing.keras_file import read_keras
from model_zoo.importing.onnx_network import read_onnx
from model_zoo.importing.sandbox import Limits, run_child
from tests.model_zoo.importing.foreign_archives import (
    bomb,
    good,
    h5,
    keras_bytes,
)
from tests.model_zoo.importing.foreign_networks import (
    mlp,
)
from wire_protocol.errors import ConfigError


def test_the_file_that_is_broken_below_is_a_good_one(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes(keras_bytes())
    network = read_keras(path)
    assert [one.kind for one in network.operations] == ["dense"]
    assert network.ending == "softmax"


def _objects(file: Any) -> None:
    good(file)
    del file["layers/dense/vars/0"]
    data = file.create_dataset("layers/dense/vars/0", (4, 3), h5py.string_dtype())
    data[0, 0] = "cos\nsystem\n"


def _link(file: Any) -> None:
    good(file)
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.ExternalLink("/etc/passwd", "/x")


def _soft_loop(file: Any) -> None:
    file["layers/dense/vars"] = h5py.SoftLink("/layers/dense/vars")


def _external(file: Any) -> None:
    good(file)
    del file["layers/dense/vars/0"]
    file.create_dataset(
        "layers/dense/vars/0", (4, 3), "f4", external=[("/etc/passwd", 0, 48)]
    )


def _two_gigabytes(file: Any) -> None:
    """A claim only: nothing of it is written."""
    good(file)
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", (1 << 29,), "f4", chunks=(1 << 20,))


def _not_finite(file: Any) -> None:
    good(file)
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
        "takes element type 0",
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
