"""Artifacts on disk: a folder for each manifest, every file checked by its digest."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edge_agent.state_files import StateFiles
from wire_protocol.blobs import BlobRef
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.manifest import (
    MAX_ARTIFACT_BYTES,
    MAX_MANIFEST_BYTES,
    Manifest,
)

FetchBlob: TypeAlias = Callable[[BlobRef, int], Awaitable[bytes]]
"""Gets a blob of at most so many bytes from the network."""
FetchFile: TypeAlias = Callable[[BlobRef, Path, int], Awaitable[None]]
"""Makes a blob of at most so many bytes a file, in a folder that exists."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A training artifact that is here, whole."""

    digest: str
    folder: Path
    manifest: Manifest


class ArtifactCache:
    """Artifacts by the SHA-256 of their manifest, under the state folder."""

    def __init__(self, files: StateFiles) -> None:
        self._files = files
        self._folder = files.folder / "artifacts"

    async def get(
        self,
        ref: BlobRef,
        *,
        family: str,
        fetch_blob: FetchBlob,
        fetch_file: FetchFile,
    ) -> Artifact:
        """Return the artifact, fetching what is not here or is damaged.

        Raises:
            DecodeError: The manifest is none, too large, or has no files for
                ``family``.
            StorageError: The folder cannot be written.
            RefusedError: As ``fetch_file``; there may be no room.
        """
        folder = self._folder / ref.sha256
        kept = folder / "manifest.json"
        if _is(kept, ref):
            raw = kept.read_bytes()
        else:
            raw = await fetch_blob(ref, MAX_MANIFEST_BYTES)
            self._files.write(kept, raw)
        manifest = Manifest.from_json(raw)
        files = manifest.family_files(family)
        if not files:
            raise DecodeError(
                f"{manifest.name} has no files for {family}", reason=Reason.WRONG_SCHEMA
            )
        refs = {
            folder / name: BlobRef(wanted.sha256, wanted.size)
            for name, wanted in files.items()
        }
        await asyncio.gather(
            *(
                fetch_file(blob, path, MAX_ARTIFACT_BYTES)
                for path, blob in refs.items()
                if not _is(path, blob)
            )
        )
        return Artifact(ref.sha256, folder, manifest)


def has_passed(artifact: Artifact, runtime: str) -> bool:
    """Tell whether the self-test passed on ``runtime``, which is name and version."""
    try:
        passed = json.loads(_memory(artifact).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(passed, list) and runtime in passed


def remember_passed(artifact: Artifact, runtime: str, *, files: StateFiles) -> None:
    """Remember that the self-test passed on ``runtime``.

    Raises:
        StorageError: The folder cannot be written.
    """
    files.write(_memory(artifact), json.dumps([runtime]).encode())


def _memory(artifact: Artifact) -> Path:
    return artifact.folder / "passed.json"


def _is(path: Path, blob: BlobRef) -> bool:
    """Tell whether ``path`` holds ``blob``, whole; never is it all in memory."""
    try:
        if path.stat().st_size != blob.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == blob.sha256
    except OSError:
        return False
