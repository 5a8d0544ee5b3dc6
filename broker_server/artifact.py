"""The training artifact a server offers: its manifest and files, checked on loading."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wire_protocol.blobs import BlobRef
from wire_protocol.errors import ConfigError, DecodeError
from wire_protocol.manifest import FAMILIES, INITIAL, Manifest
from wire_protocol.params import Vector
from wire_protocol.transfer import blob_ref

_REMEDY = "build it again with 'edgefed zoo build', or name another [model] artifact"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest and, by digest, every blob a device may ask for because of it."""

    manifest: Manifest
    ref: BlobRef
    blobs: Mapping[str, bytes]

    @property
    def initial(self) -> Vector | None:
        """Parameters to start from, shape ``[size]``; None: they are drawn."""
        file = self.manifest.files.get(INITIAL)
        if file is None:
            return None
        content = self.blobs[file.sha256]
        return np.frombuffer(content, "<f4", count=len(content) // 4)

    @property
    def families(self) -> tuple[str, ...]:
        """Runtime families that can run it."""
        return tuple(name for name in FAMILIES if self.manifest.family_files(name))


def load_artifact(folder: Path) -> Artifact:
    """Load ``manifest.json`` and the files it names.

    Raises:
        ConfigError: A file is missing, or is not what the manifest says.
    """
    raw = _read(folder / "manifest.json")
    try:
        manifest = Manifest.from_json(raw)
    except DecodeError as error:
        raise ConfigError(f"{folder}: {error.problem}", remedy=_REMEDY) from error
    ref = blob_ref(raw)
    blobs = {ref.sha256: raw}
    for name, file in manifest.files.items():
        content = _read(folder / name)
        digest = hashlib.sha256(content).hexdigest()
        if (digest, len(content)) != (file.sha256, file.size):
            raise ConfigError(
                f"{folder / name} is {digest[:12]} of {len(content)} bytes, the "
                f"manifest expects {file.sha256[:12]} of {file.size}",
                remedy=_REMEDY,
            )
        blobs[digest] = content
    artifact = Artifact(manifest, ref, blobs)
    _check_initial(artifact, folder)
    return artifact


def _check_initial(artifact: Artifact, folder: Path) -> None:
    initial, size = artifact.initial, artifact.manifest.layout.size
    if initial is not None and not (
        artifact.manifest.files[INITIAL].size == 4 * size and np.isfinite(initial).all()
    ):
        raise ConfigError(
            f"{folder / INITIAL} does not hold {size} finite float32 values",
            remedy=_REMEDY,
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", remedy=_REMEDY
        ) from error
