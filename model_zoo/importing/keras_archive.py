"""A ``.keras`` file taken apart: a zip of two JSON texts and the weights.

Nothing in it is ever run, deserialised by Keras, or written to disk.
"""

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wire_protocol.errors import ConfigError

MAX_FILE_BYTES: Final = 300 * 1024 * 1024
MAX_CONFIG_BYTES: Final = 4 * 1024 * 1024
MAX_WEIGHTS_BYTES: Final = 272 * 1024 * 1024
_BROKEN: Final = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError, OverflowError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Archive:
    """The parsed configuration, and the bytes of the weights."""

    config: dict[str, Any]
    weights: bytes


def open_archive(path: Path) -> Archive:
    """Read a ``.keras`` file in bounded memory.

    Raises:
        ConfigError: It is none, or something in it is too large.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ConfigError(f"{path.name} is larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for name in names:
                parts = name.split("/")
                if ".." in parts or name.startswith("/") or "\\" in name:
                    raise ConfigError(f"a .keras file has no member {name!r:.80}")
            text = _member(archive, "config.json", most=MAX_CONFIG_BYTES)
            weights = _member(archive, "model.weights.h5", most=MAX_WEIGHTS_BYTES)
    except _BROKEN as error:
        raise ConfigError(f"{path.name} is no .keras file: {error}") from error
    return Archive(parse_config(text), weights)


def parse_config(text: bytes) -> dict[str, Any]:
    """Parse ``config.json``, or raise ``ConfigError``."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"config.json is not JSON: {error!r:.100}") from error
    if not isinstance(config, dict):
        raise ConfigError("config.json is no configuration of a model")
    return config


def _member(archive: zipfile.ZipFile, name: str, *, most: int) -> bytes:
    if archive.namelist().count(name) != 1:
        raise ConfigError(
            f"it has not one {name}",
            remedy="save it with model.save('model.keras') of Keras 3",
        )
    info = archive.getinfo(name)
    if info.file_size > most:
        raise ConfigError(f"{name} claims {info.file_size} bytes, {most} are read")
    with archive.open(info) as member:
        content = member.read(most + 1)  # the claim is not to be trusted
    if len(content) > most:
        raise ConfigError(f"{name} has more than {most} bytes")
    return content
