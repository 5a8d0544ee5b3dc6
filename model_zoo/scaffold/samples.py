"""Made-up data to begin with: three kinds of movement, told by five devices."""

import csv
import math
import random
import wave
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np

DataKind = Literal["csv", "npz", "wav", "python"]

DEVICES: Final = ("kitchen", "hall", "garden", "attic", "cellar")
LABELS: Final = ("still", "slow", "fast")
_HERTZ: Final = (0.0, 0.7, 2.5)
_ROWS: Final = 240
_RATE: Final = 8000


def write_samples(kind: DataKind, folder: Path) -> None:
    """Write data of ``kind`` into ``folder``, which is made; "python" needs none."""
    _WRITERS[kind](folder)


def _csv(folder: Path) -> None:
    folder.mkdir()
    for number, device in enumerate(DEVICES):
        path = folder / f"{device}.csv"
        with path.open("x", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("ax", "ay", "az", "label"))
            for label, row in _movement(number):
                writer.writerow((*(f"{value:.3f}" for value in row), label))


def _npz(folder: Path) -> None:
    folder.mkdir()
    for number, device in enumerate(DEVICES):
        rng = np.random.default_rng(number)
        y = rng.integers(0, len(LABELS), 60)
        x = np.array(_HERTZ)[y][:, None] + rng.normal(0, 0.4, (60, 4))
        np.savez(folder / f"{device}.npz", x=x.astype(np.float32), y=y.astype(np.int32))


def _wav(folder: Path) -> None:
    folder.mkdir()
    for number, device in enumerate(DEVICES):
        rng = np.random.default_rng(number)
        for place, label in enumerate(LABELS):
            home = folder / device / label
            home.mkdir(parents=True)
            for take in range(10):
                sound = _hum(200 * 2**place, rng=rng)
                with wave.open(str(home / f"{take}.wav"), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(_RATE)
                    file.writeframes(sound)


def _nothing(_folder: Path) -> None:
    """Python makes its examples up itself."""


def _movement(seed: int) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Yield label and acceleration in m/s2, at 10 Hz, label after label."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    tilt = rng.gauss(0, 0.1)
    for label, hertz in zip(LABELS, _HERTZ, strict=True):
        for row in range(_ROWS):
            swing = math.sin(2 * math.pi * hertz * row / 10 + rng.gauss(0, 0.1))
            yield (
                label,
                (
                    9.8 * tilt + 2 * swing + rng.gauss(0, 0.3),
                    2 * swing + rng.gauss(0, 0.3),
                    9.8 + rng.gauss(0, 0.3),
                ),
            )


def _hum(hertz: float, *, rng: np.random.Generator) -> bytes:
    times = np.arange(_RATE) / _RATE
    pitch = hertz * rng.uniform(0.9, 1.1)
    tone = np.sin(2 * np.pi * pitch * times) + rng.normal(0, 0.1, _RATE)
    return bytes((tone * 8000).astype("<i2").tobytes())


_WRITERS: Final[Mapping[DataKind, Callable[[Path], None]]] = {
    "csv": _csv,
    "npz": _npz,
    "wav": _wav,
    "python": _nothing,
}
