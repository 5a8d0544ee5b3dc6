"""From the published recordings of ``sp-sw-har`` to windows of one second.

Every recording (about 100 Hz, uneven) is interpolated linearly on a 10 ms grid, every
second sample is kept, and windows of 50 samples are cut every 25; a window is kept when
at least 60 % of its samples carry one label. The hold-out is the last 30 % of each
person's recordings, rounded down; people 17 to 23 are unseen.

The published archive is packed on demand, so its members are verified, by one SHA-256
over names and contents, before a byte of them is parsed.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.data.archive_members import read_members
from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array

RECORDINGS_SHA256: Final = (
    "4c211f6af1284fd914acd122c7ec614f466e54a0a892e49bc1885113c0352412"
)
ACTIVITIES: Final = ("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN")
GRID_MS: Final = 10
WINDOW: Final = 50
HOP: Final = 25
MIN_AGREEING: Final = 30
FIRST_UNSEEN: Final = 17

_MEMBER: Final = re.compile(r".*/DATA/s\d\d/(s\d\d_\d\d_s[pw])\.csv")
_MAX_RECORDINGS: Final = 1000
_MAX_BYTES: Final = 1024 * 1024

Recordings = Mapping[str, bytes]
"""The text of each recording by name, such as ``s01_04_sp``."""


def read_archive(path: Path) -> dict[str, bytes]:
    """Read the recordings in the repository archive at ``path``, not yet verified.

    Raises:
        ConfigError: The file is no ZIP archive, or one of implausible size.
    """
    return read_members(path, _MEMBER, most=_MAX_RECORDINGS, max_bytes=_MAX_BYTES)


def recordings_sha256(recordings: Recordings) -> str:
    """SHA-256, in hex, of the name and SHA-256 of every recording, sorted by name."""
    digest = hashlib.sha256()
    for name, text in sorted(recordings.items()):
        digest.update(f"{name} {hashlib.sha256(text).hexdigest()}\n".encode())
    return digest.hexdigest()


def convert(files: Sequence[Path]) -> dict[str, Array]:
    """Turn the one fetched archive into the arrays of the set.

    Raises:
        ConfigError: The archive does not hold the published recordings.
    """
    (path,) = files
    recordings = read_archive(path)
    found = recordings_sha256(recordings)
    if found != RECORDINGS_SHA256:
        raise ConfigError(
            f"the fetched archive does not hold the published recordings: their "
            f"SHA-256 is {found[:16]}..., expected {RECORDINGS_SHA256[:16]}..."
        )
    return windows(recordings)


def windows(recordings: Recordings) -> dict[str, Array]:
    """Cut all recordings, in the order of their names; this function is pure."""
    counts: dict[int, int] = {}
    for name in recordings:
        person, execution, _ = _parts(name)
        counts[person] = max(counts.get(person, 0), execution)
    xs, rows = [], []
    for name, text in sorted(recordings.items()):
        person, execution, place = _parts(name)
        held_out = execution > counts[person] - counts[person] * 3 // 10
        for window, label in _cut(text):
            xs.append(window)
            rows.append(
                (label, person, place, held_out, person >= FIRST_UNSEEN),
            )
    y, client, device, within, subject = np.array(rows, np.uint8).T
    return {
        "x": np.stack(xs),
        "y": y,
        "client_id": client,
        "device": device,
        "split_within": within,
        "split_subject": subject,
    }


def _parts(name: str) -> tuple[int, int, int]:
    """Person, recording number, and 0 for the phone or 1 for the watch."""
    person, execution, place = name.split("_")
    return int(person[1:]), int(execution), int(place == "sw")


def _cut(text: bytes) -> list[tuple[NDArray[np.float16], int]]:
    rows = [line.split(",") for line in text.decode().split()[1:]]
    values = np.array([[float(value) for value in row[:6]] for row in rows])
    time = np.array([int(row[6]) for row in rows], np.float64)
    time -= time[0]
    labels = np.array([ACTIVITIES.index(row[7]) for row in rows])

    grid = np.arange(0.0, time[-1], GRID_MS)
    # Not np.interp: compiled for ARM it fuses multiply and add, and some of the last
    # digits, and so the digest of the set, would be others there.
    left = np.searchsorted(time, grid, "right") - 1
    slope = (values[left + 1] - values[left]) / (time[left + 1] - time[left])[:, None]
    x = (slope * (grid - time[left])[:, None] + values[left]).astype(np.float32)[::2]
    y = labels[np.searchsorted(time, grid)][::2]

    cut = []
    for start in range(0, len(x) - WINDOW + 1, HOP):
        votes = np.bincount(y[start : start + WINDOW])
        if votes.max() >= MIN_AGREEING:
            window = x[start : start + WINDOW].astype(np.float16)
            cut.append((window, int(votes.argmax())))
    return cut
