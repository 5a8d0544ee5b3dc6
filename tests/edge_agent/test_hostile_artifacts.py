"""Model files that are broken, foreign or lies, offered to real runtimes.

The digests of the manifest are right each time: whoever made it made it so. The
self-test runs in a process of its own, so whatever happens there is a problem in words.
"""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from broker_server.artifact import load_artifact
from edge_agent.artifacts import ArtifactCache
from edge_agent.probe import self_test_problem
from edge_agent.runtimes import RUNTIMES
from edge_agent.state_files import StateFiles
from edge_agent.trainers import tflite
from model_zoo.zoo import artifact_folder, manifest
from wire_protocol.blobs import BlobRef
from wire_protocol.errors import ConfigError, DecodeError
from wire_protocol.manifest import INITIAL, FileRef, Manifest
from wire_protocol.transfer import blob_ref

MODEL = "digits-mlp"
WHOLE = artifact_folder(MODEL)
SMOKE = Path(tflite.__file__).parent
Change = Callable[[bytes], bytes]


def _scrambled(content: bytes) -> bytes:
    raw = np.frombuffer(content, np.uint8).copy()
    places = np.random.default_rng(5).integers(0, len(raw), len(raw) // 50)
    raw[places] ^= 0xFF
    return raw.tobytes()


def _unknown_operator(content: bytes) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    for code in model.operatorCodes:
        code.builtinCode = schema.BuiltinOperator.CUSTOM
        code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = b"NoSuchOperator"
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


TFLITE: dict[str, Change] = {
    "garbage": lambda _: bytes(range(256)) * 8,
    "one byte": lambda _: b"x",
    "cut": lambda content: content[: len(content) // 2],
    "cut at its end": lambda content: content[:-8],
    "scrambled": _scrambled,
    "an unknown operator": _unknown_operator,
    "another model": lambda _: (
        artifact_folder("har-cnn1d") / "model.tflite"
    ).read_bytes(),
    "no training artifact": lambda _: (SMOKE / "smoke.tflite").read_bytes(),
}
ONNX: dict[str, Change] = {
    "garbage": TFLITE["garbage"],
    "cut": TFLITE["cut"],
    "scrambled": _scrambled,
    "an unknown operator": lambda content: content.replace(b"Gemm", b"Gexx"),
    "another model": lambda _: (
        artifact_folder("har-cnn1d") / "train.onnx"
    ).read_bytes(),
    "no training artifact": lambda _: (SMOKE / "smoke.onnx").read_bytes(),
}


def with_file(folder: Path, name: str, content: bytes) -> None:
    """Make an artifact of ``MODEL`` with another file and the digest of that."""
    shutil.copytree(WHOLE, folder, dirs_exist_ok=True)
    (folder / name).write_bytes(content)
    ref = FileRef(len(content), hashlib.sha256(content).hexdigest())
    whole = manifest(MODEL)
    changed = replace(whole, files={**whole.files, name: ref})
    (folder / "manifest.json").write_bytes(changed.to_json())


@pytest.mark.parametrize(
    ("runtime", "file", "changes"),
    [
        ("litert", "model.tflite", TFLITE),
        pytest.param("onnxruntime", "train.onnx", ONNX, marks=pytest.mark.slow),
    ],
)
def test_a_runtime_that_meets_a_hostile_file_harms_nobody(
    runtime: str, file: str, changes: dict[str, Change], tmp_path: Path
) -> None:
    content = (WHOLE / file).read_bytes()
    for name, change in changes.items():
        with_file(tmp_path / name, file, change(content))

    async def told() -> dict[str, str]:
        problems = {}
        for name in changes:
            one = RUNTIMES[runtime]  # type: ignore[index] # both are names
            problems[name] = await self_test_problem(one, tmp_path / name)
        return problems

    problems = asyncio.run(told())
    assert [name for name, problem in problems.items() if not problem] == []
    assert all(len(problem) <= 300 for problem in problems.values())


def plain() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((WHOLE / "manifest.json").read_bytes())
    return found


def _with(**changes: Any) -> bytes:
    return json.dumps({**plain(), **changes}).encode()


REF = {"size": 10, "sha256": "0" * 64}
SPEC = plain()["layout"][0]
MANIFESTS = {
    "a file of 2 GB": _with(files={"model.tflite": {**REF, "size": 2 << 30}}),
    "a file of nothing": _with(files={"model.tflite": {**REF, "size": 0}}),
    "a file that climbs": _with(files={"../../model.tflite": REF}),
    "an absolute file": _with(files={"/etc/passwd": REF}),
    "a file of ours": _with(files={"manifest.json": REF}),
    "a digest that climbs": _with(
        files={"model.tflite": {**REF, "sha256": "../" * 21 + "x"}}
    ),
    "2 GB of parameters": _with(layout=[{**SPEC, "shape": [1 << 15, 1 << 14]}]),
    "parameters beyond 64 bits": _with(layout=[{**SPEC, "shape": [1 << 40, 1 << 40]}]),
    "a batch of 2 GB": _with(batch=1 << 31),
    "an input of 2 GB": _with(input_shape=[1 << 31]),
    "deep JSON": b"[" * 100_000,
    "many digits": b'{"format": ' + b"9" * 10_000 + b"}",
    "no JSON": b"\0\1\2",
    "too long": b" " * (1 << 20),
    "cut": (WHOLE / "manifest.json").read_bytes()[:-10],
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_hostile_manifest_is_refused_by_server_and_device(
    name: str, tmp_path: Path
) -> None:
    raw = MANIFESTS[name]
    with pytest.raises(DecodeError):
        Manifest.from_json(raw)
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact/manifest.json").write_bytes(raw)
    with pytest.raises(ConfigError, match="zoo build"):
        load_artifact(tmp_path / "artifact")

    async def manifest_blob(_ref: BlobRef, _most: int) -> bytes:
        return raw

    async def no_file(_ref: BlobRef, path: Path, _most: int) -> None:
        pytest.fail(f"{path} was asked for")

    cache = ArtifactCache(StateFiles(tmp_path / "device"))
    with pytest.raises(DecodeError):
        asyncio.run(
            cache.get(
                blob_ref(raw),
                family="tflite",
                fetch_blob=manifest_blob,
                fetch_file=no_file,
            )
        )


INITIALS = {
    "too few": b"\0" * 8,
    "not of floats": b"\0" * (4 * manifest(MODEL).layout.size + 1),
    "not finite": np.full(manifest(MODEL).layout.size, np.nan, "<f4").tobytes(),
}


@pytest.mark.parametrize("name", INITIALS)
def test_parameters_to_start_from_that_are_none_are_refused(
    name: str, tmp_path: Path
) -> None:
    with_file(tmp_path, INITIAL, INITIALS[name])
    with pytest.raises(ConfigError, match="does not hold 13098 finite"):
        load_artifact(tmp_path)
