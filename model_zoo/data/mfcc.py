"""Sound as a small picture: a WAV file of about a second becomes MFCC ``[49, 10]``.

Mel-frequency cepstral coefficients as keyword spotters of the MLPerf Tiny kind take
them, for speech of 8 kHz: frames of 256 samples every 160 (32 ms every 20 ms), Hann
window, power spectrum, 32 triangular mel bands from 50 to 3,900 Hz (mel as in
O'Shaughnessy 1987, edges rounded down to bins), natural logarithm, orthonormal DCT-II,
and of that the first 10 coefficients (Davis and Mermelstein 1980).

This file needs numpy alone, so that it can be copied next to a device's own code:
whatever feeds a model must compute what the model was trained on.

>>> tone = np.sin(2 * np.pi * 440 / RATE * np.arange(RATE))
>>> mfcc((tone * 20_000).astype(np.int16)).shape
(49, 10)
"""

import wave
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE: Final = 8000
WINDOW: Final = 256
HOP: Final = 160
FRAMES: Final = 49
BANDS: Final = 32
COEFFICIENTS: Final = 10
LOW_HZ: Final = 50.0
HIGH_HZ: Final = 3900.0
FLOOR: Final = 1e-6
"""Added to a band's power: digital silence has no logarithm."""

MAX_SECONDS: Final = 60
_RATES: Final = (RATE, 192_000)
_FULL_SCALE: Final = 32_768
_HALF_WIDTH: Final = 16

Samples = NDArray[np.int16]
"""Sound of one channel at ``RATE``, shape ``[N]``."""


class WavError(ValueError):
    """A file is no WAV file that can be read here; the text says why."""


def read_wav(path: Path) -> Samples:
    """Read a PCM WAV file, averaged to one channel and resampled to ``RATE``.

    Args:
        path: A file of 16-bit samples, 1 to 8 channels, 8 to 192 kHz, at most a minute.

    Raises:
        OSError: The file cannot be opened.
        WavError: It is none of the above. Nothing else is raised, whatever it holds.
    """
    try:
        with path.open("rb") as raw, wave.open(raw) as file:
            channels, width, rate = file.getparams()[:3]
            if width != 2 or not 1 <= channels <= 8:
                raise WavError(
                    f"{path} has {channels} channels of {8 * width} bits; "
                    "1 to 8 channels of 16 bits are read"
                )
            if not _RATES[0] <= rate <= _RATES[1]:
                raise WavError(
                    f"{path} has {rate} samples a second; "
                    f"{_RATES[0]} to {_RATES[1]} are read"
                )
            # One more than allowed; what the header claims is not to be trusted.
            data = file.readframes(MAX_SECONDS * rate + 1)
    except (wave.Error, EOFError, RuntimeError) as error:
        raise WavError(f"{path} is no PCM WAV file: {error or 'it is cut'}") from error
    count = len(data) // (2 * channels)
    if not count:
        raise WavError(f"{path} holds no samples")
    if count > MAX_SECONDS * rate:
        raise WavError(f"{path} is longer than {MAX_SECONDS} seconds")
    frames = np.frombuffer(data, "<i2", count * channels).reshape(count, channels)
    if channels == 1 and rate == RATE:
        return frames[:, 0].astype(np.int16)
    return resampled(frames.mean(1), rate=rate)


def resampled(samples: NDArray[np.floating], *, rate: int) -> Samples:
    """Bring ``samples`` of ``rate`` Hz, at least ``RATE``, to ``RATE``.

    A windowed sinc takes away what ``RATE`` cannot hold; the rest is interpolated.
    """
    if rate > RATE:
        reach = _HALF_WIDTH * rate // RATE
        span = np.arange(-reach, reach + 1)
        kernel = np.sinc(0.9 * span * RATE / rate) * np.hanning(len(span) + 2)[1:-1]
        kernel /= kernel.sum()
        samples = np.convolve(samples, kernel)[reach : reach + len(samples)]
    times = np.arange(len(samples) * RATE // rate) * (rate / RATE)
    found = np.interp(times, np.arange(len(samples)), samples)
    whole = np.rint(found).clip(-_FULL_SCALE, _FULL_SCALE - 1)
    return np.asarray(whole, np.int16)


def mfcc(samples: Samples) -> NDArray[np.float32]:
    """Return the coefficients ``[49, 10]`` of the first 0.992 s, silence after the end.

    Args:
        samples: Sound at ``RATE``, any length.
    """
    length = WINDOW + HOP * (FRAMES - 1)
    sound = np.zeros(length)
    kept = samples[:length]
    sound[: len(kept)] = kept / _FULL_SCALE
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2
    cepstrum: NDArray[np.float64] = np.log(power @ _MEL + FLOOR) @ _DCT
    return cepstrum.astype(np.float32)


def _mel_filters() -> NDArray[np.float64]:
    """Triangles over the bins of the spectrum, ``[129, 32]``."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (LOW_HZ, HIGH_HZ))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    corners = np.floor((WINDOW + 1) * edges / RATE)
    bins = np.arange(WINDOW // 2 + 1)[:, np.newaxis]
    left, peak, right = corners[:-2], corners[1:-1], corners[2:]
    # Two low bands share a corner; a triangle without a side starts at its peak.
    rising = (bins - left) / np.maximum(peak - left, 1)
    falling = (right - bins) / np.maximum(right - peak, 1)
    filters: NDArray[np.float64] = np.where(bins < peak, rising, falling)
    return np.maximum(filters, 0)


def _cosines() -> NDArray[np.float64]:
    """The orthonormal DCT-II, ``[32, 10]``."""
    band = np.arange(BANDS)[:, np.newaxis] + 0.5
    matrix: NDArray[np.float64] = np.cos(np.pi / BANDS * band * np.arange(COEFFICIENTS))
    matrix *= np.sqrt(2 / BANDS)
    matrix[:, 0] /= np.sqrt(2)
    return matrix


_MEL: Final = _mel_filters()
_DCT: Final = _cosines()
