"""From the published recordings of ``fsdd`` to one array of sound.

A recording is called ``<digit>_<speaker>_<number>.wav`` and is mono, 16 bits, 8 kHz.
They are joined, without loss, in the order of their names. The published archive is
packed on demand; what was read is verified as a whole by the origin.
"""

import io
import re
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.data.archive_members import read_members
from model_zoo.data.mfcc import RATE
from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array

SPEAKERS: Final = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")

_MEMBER: Final = re.compile(
    rf".*/recordings/(\d_(?:{'|'.join(SPEAKERS)})_\d{{1,2}})\.wav"
)
_MAX_RECORDINGS: Final = 3000
_MAX_BYTES: Final = 256 * 1024


def convert(files: Sequence[Path]) -> dict[str, Array]:
    """Turn the one fetched archive into the arrays of the set.

    Raises:
        ConfigError: The file is no ZIP archive of such recordings.
    """
    (path,) = files
    found = read_members(path, _MEMBER, most=_MAX_RECORDINGS, max_bytes=_MAX_BYTES)
    try:
        recordings = {name: _sound(content) for name, content in found.items()}
    except (EOFError, ValueError, RuntimeError, wave.Error) as error:
        raise ConfigError(
            f"{path} cannot be read as an archive of recordings: {error}"
        ) from error
    if not recordings:
        raise ConfigError(f"{path} holds no recordings")
    return joined(recordings)


def joined(recordings: Mapping[str, NDArray[np.int16]]) -> dict[str, Array]:
    """Join all recordings, in the order of their file names; this function is pure."""
    names = sorted(recordings, key=lambda name: f"{name}.wav")
    rows = [name.split("_") for name in names]
    sounds = [recordings[name] for name in names]
    ends = np.cumsum([len(sound) for sound in sounds], dtype=np.int64)
    return {
        "audio": np.concatenate(sounds),
        "audio_offset": np.concatenate([np.zeros(1, np.int64), ends]),
        "y": np.array([int(digit) for digit, _, _ in rows], np.uint8),
        "client_id": np.array([SPEAKERS.index(who) for _, who, _ in rows], np.uint8),
        "recording_index": np.array([int(number) for _, _, number in rows], np.uint8),
    }


def _sound(data: bytes) -> NDArray[np.int16]:
    with wave.open(io.BytesIO(data)) as file:
        if file.getparams()[:3] != (1, 2, RATE):
            raise ValueError("a recording is not mono of 16 bits and 8 kHz")
        sound = file.readframes(_MAX_BYTES)
    return np.frombuffer(sound, "<i2", len(sound) // 2).astype(np.int16)
