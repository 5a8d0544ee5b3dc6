"""A training artifact grown to megabytes, for links that are too slow for it.

The files stay valid and compute the same. Protocol Buffers merge what is appended
(encoding guide, "Last One Wins"): to an ONNX model one more ``metadata_props`` entry.
A TFLite model is read by offsets from its start, so bytes after its end are not seen.
"""

import base64
import hashlib
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

from tools.chaos.packets import varint
from wire_protocol.manifest import FileRef, Manifest

_GROWN: Final = ("model.tflite", "train.onnx")
"""One file for each family of runtimes; the others stay small."""
_METADATA_PROPS: Final = 14  # onnx.proto3, ModelProto.metadata_props
_KEY: Final = 1  # StringStringEntryProto
_VALUE: Final = 2
_LENGTH_DELIMITED: Final = 2  # wire type


def grow_artifact(source: Path, target: Path, *, size: int, rng: Random) -> None:
    """Write the artifact in ``source`` to ``target``, with ``size`` bytes to a family.

    Raises:
        DecodeError: ``source`` holds no artifact.
    """
    manifest = Manifest.from_json((source / "manifest.json").read_bytes())
    target.mkdir(parents=True)
    files = {}
    for name in manifest.files:
        content = (source / name).read_bytes()
        if name in _GROWN:
            others = sum(
                ref.size
                for family in ("tflite", "onnx")
                for other, ref in manifest.family_files(family).items()
                if other != name and name in manifest.family_files(family)
            )
            content = grown(name, content, by=size - others - len(content), rng=rng)
        (target / name).write_bytes(content)
        files[name] = FileRef(len(content), hashlib.sha256(content).hexdigest())
    (target / "manifest.json").write_bytes(replace(manifest, files=files).to_json())


def grown(name: str, content: bytes, *, by: int, rng: Random) -> bytes:
    """Return the model ``content`` with about ``by`` bytes more that mean nothing."""
    # text, since a protobuf string is UTF-8; random, since zeros would tell no loss
    text = base64.b64encode(rng.randbytes(3 * by // 4))
    if not name.endswith(".onnx"):
        return content + text
    entry = _field(_KEY, b"ballast") + _field(_VALUE, text)
    return content + _field(_METADATA_PROPS, entry)


def _field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | _LENGTH_DELIMITED) + varint(len(content)) + content
