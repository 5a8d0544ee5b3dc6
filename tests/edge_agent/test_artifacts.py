"""Artifacts on disk: fetched once, checked always."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from edge_agent.artifacts import (
    Artifact,
    ArtifactCache,
    has_passed,
    remember_passed,
)
from edge_agent.state_files import StateFiles, StorageError
from model_zoo.zoo import artifact_folder
from wire_protocol.blobs import BlobRef
from wire_protocol.errors import DecodeError
from wire_protocol.transfer import blob_ref

SOURCE = artifact_folder("digits-mlp")
MANIFEST = blob_ref((SOURCE / "manifest.json").read_bytes())


class Source:
    """Gives the blobs of the artifact and counts what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._blobs = {
            blob_ref(path.read_bytes()).sha256: path for path in SOURCE.iterdir()
        }

    async def __call__(self, ref: BlobRef, most: int) -> bytes:
        assert ref.size <= most
        path = self._blobs[ref.sha256]
        self.asked.append(path.name)
        return path.read_bytes()


def get(
    folder: Path,
    source: Callable[[BlobRef, int], Awaitable[bytes]],
    *,
    family: str = "onnx",
) -> Artifact:
    files = StateFiles(folder)

    async def fetch_file(ref: BlobRef, path: Path, most: int) -> None:
        files.write(path, await source(ref, most))

    cache = ArtifactCache(files)
    return asyncio.run(
        cache.get(MANIFEST, family=family, fetch_blob=source, fetch_file=fetch_file)
    )


def test_only_the_family_is_fetched_and_only_once(tmp_path: Path) -> None:
    source = Source()
    artifact = get(tmp_path, source)
    assert artifact.manifest.name == "digits-mlp"
    assert sorted(source.asked) == [
        "evaluate.onnx",
        "infer.onnx",
        "manifest.json",
        "train.onnx",
    ]
    get(tmp_path, source)
    assert len(source.asked) == 4
    get(tmp_path, source, family="tflite")
    assert source.asked[4:] == ["model.tflite"]


@pytest.mark.parametrize("name", ["manifest.json", "train.onnx"])
@pytest.mark.parametrize("damage", [b"", b"x"], ids=["cut", "changed"])
def test_a_damaged_file_is_fetched_again(
    tmp_path: Path, name: str, damage: bytes
) -> None:
    source = Source()
    path = get(tmp_path, source).folder / name
    content = path.read_bytes()
    path.write_bytes(damage + content[1:])
    get(tmp_path, source)
    assert source.asked[4:] == [name]
    assert path.read_bytes() == content


def test_a_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    async def nonsense(_ref: BlobRef, _most: int) -> bytes:
        return b"{}"

    with pytest.raises(DecodeError, match="not a manifest"):
        get(tmp_path, nonsense)


def test_a_passed_self_test_is_remembered_for_that_runtime(tmp_path: Path) -> None:
    artifact = get(tmp_path, Source())
    assert not has_passed(artifact, "litert 2")
    remember_passed(artifact, "litert 2", files=StateFiles(tmp_path))
    assert has_passed(artifact, "litert 2")
    assert not has_passed(artifact, "litert 3")
    (artifact.folder / "passed.json").write_bytes(b"\xff{")
    assert not has_passed(artifact, "litert 2")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    files = StateFiles(tmp_path)
    with pytest.raises(StorageError, match=r"cannot be written.*state_dir"):
        files.write(tmp_path / "file" / "below", b"one")
    assert files.written_bytes == 0


def test_what_is_written_is_counted(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    files.write(tmp_path / "folder" / "one", b"12", b"345")
    files.write(tmp_path / "two", b"6")
    files.wrote(10)
    assert files.written_bytes == 16
    assert (tmp_path / "folder" / "one").read_bytes() == b"12345"
