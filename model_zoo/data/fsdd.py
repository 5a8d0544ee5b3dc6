"""Spoken digits: 3,000 recordings of 6 people, ten digits fifty times each.

An example is a sound of about a second as MFCC, shape ``[49, 10]``
(``model_zoo.data.mfcc``), the input of MLPerf Tiny's keyword spotter. The set comes as
lossless sound and the coefficients are computed here, so that a device that computes
them with the same file feeds the model what it was trained on.

Natural clients are 30 devices, five a person: device ``k`` of a person has the
recordings ``k`` (held out) and ``5 + 9 k`` to ``13 + 9 k`` of every digit, as if they
had been taken one after the other in five rooms. So devices differ by voice and not by
label, and the hold-out, the official test split (recordings 0 to 4), mixes all six
voices. ``by_speaker`` makes a person one client. The sixth person is the unseen one:
with five voices to learn from, that is the harder question by far.
"""

import itertools
from collections.abc import Mapping
from typing import Final

import numpy as np

from model_zoo.data import speech_recordings
from model_zoo.data.dataset import Dataset
from model_zoo.data.fetch import Download
from model_zoo.data.mfcc import mfcc
from model_zoo.data.origin import Origin
from model_zoo.data.speech_recordings import SPEAKERS
from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array

ORIGIN: Final = Origin(
    name="fsdd",
    folder="fsdd",
    arrays={
        "audio": ("i", 1),
        "audio_offset": ("i", 1),
        "y": ("u", 1),
        "client_id": ("u", 1),
        "recording_index": ("u", 1),
    },
    max_bytes=32 * 1024 * 1024,
    content_sha256="e63cbdb10dd640d8dc076929aaa223c48d69d7172eab7c0e122b449689f64e05",
    # GitHub packs this archive on demand: only the arrays made of it can be verified.
    downloads=(
        Download(
            "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"
            "26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip",
            sha256=None,
        ),
    ),
    convert=speech_recordings.convert,
    source="https://github.com/Jakobovski/free-spoken-digit-dataset",
    licence="CC BY-SA 4.0",
    citation="Jakobovski et al., Free Spoken Digit Dataset",
)
ROOMS: Final = 5
HELD_OUT: Final = 5
"""Recordings below this number are the official test split."""
PER_ROOM: Final = 9
UNSEEN: Final = len(SPEAKERS) - 1


def assemble(arrays: Mapping[str, Array], *, by_speaker: bool = False) -> Dataset:
    """Make the set of verified ``arrays``; this function is pure.

    Args:
        arrays: What ``ORIGIN`` lists.
        by_speaker: A person is one client, not five.

    Raises:
        ConfigError: The arrays contradict each other.
    """
    audio = arrays["audio"].astype(np.int16, copy=False)
    offsets = arrays["audio_offset"].astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != len(audio) or (np.diff(offsets) < 1).any():
        raise ConfigError(f"{ORIGIN.name}: the offsets do not cut the audio")
    number = arrays["recording_index"].astype(np.int32)
    speaker = arrays["client_id"].astype(np.int32)
    held_out = number < HELD_OUT
    client, clients = speaker, list(SPEAKERS)
    if not by_speaker:
        room = np.where(held_out, number, (number - HELD_OUT) // PER_ROOM)
        client = speaker * ROOMS + room.astype(np.int32)
        clients = [f"{who}-{room}" for who in SPEAKERS for room in range(1, ROOMS + 1)]
    return Dataset(
        name=ORIGIN.name,
        x=np.stack(
            [mfcc(audio[start:end]) for start, end in itertools.pairwise(offsets)]
        ),
        y=arrays["y"].astype(np.int32),
        classes=tuple("0123456789"),
        held_out=held_out,
        unseen=speaker == UNSEEN,
        client=client,
        clients=tuple(clients),
    )
