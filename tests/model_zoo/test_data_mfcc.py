"""Sound is read without trust and turned into the coefficients the set was made of."""

import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model_zoo.data.mfcc import (
    FLOOR,
    RATE,
    Samples,
    WavError,
    mfcc,
    read_wav,
    resampled,
)
from tests.model_zoo.test_data_catalog import environ_with
from wire_protocol.npz import load_arrays

sounds = arrays(
    np.int16, st.integers(1, 400), elements=st.integers(-(2**15), 2**15 - 1)
)


def wav(
    path: Path, frames: bytes, *, rate: int = RATE, channels: int = 1, width: int = 2
) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(frames)
    return path


def tone(
    hertz: float, *, rate: int = RATE
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    sine: np.ndarray[tuple[int], np.dtype[np.float64]]
    sine = 20_000 * np.sin(2 * np.pi * hertz / rate * np.arange(rate))
    return sine


def test_every_published_coefficient_agrees_to_the_last_bit_of_float16() -> None:
    path = Path(environ_with("fsdd")["EDGEFED_DATA"]) / "fsdd" / "data.npz"
    names = ("audio", "audio_offset", "mfcc")
    audio, offset, published = load_arrays(path, names, max_bytes=2**25).values()
    sound, offset = audio.astype(np.int16), offset.astype(np.int64)
    for i in range(0, len(published), 50):
        found = mfcc(sound[offset[i] : offset[i + 1]])
        assert np.array_equal(found.astype(np.float16), published[i])


def test_silence_is_the_floor() -> None:
    found = mfcc(np.zeros(3, np.int16))
    assert found.shape == (49, 10)
    assert found.dtype == np.float32
    assert np.allclose(found[:, 0], np.sqrt(32) * np.log(FLOOR))
    assert np.abs(found[:, 1:]).max() < 1e-4


@given(sound=sounds)
def test_what_comes_after_a_second_is_not_heard(sound: Samples) -> None:
    long = np.tile(sound, 8_000 // len(sound) + 1)
    heard = mfcc(long[: 256 + 48 * 160])
    assert np.isfinite(heard).all()
    assert np.array_equal(heard, mfcc(long))


def test_a_louder_sound_moves_only_the_first_coefficient() -> None:
    quiet, loud = (mfcc((tone(700) / part).astype(np.int16))[:48] for part in (4, 1))
    noise = mfcc(np.random.default_rng(0).normal(0, 3000, RATE).astype(np.int16))
    double = mfcc(np.random.default_rng(0).normal(0, 6000, RATE).astype(np.int16))
    assert np.allclose((double - noise)[:, 0], np.sqrt(32) * np.log(4), atol=0.05)
    assert np.abs((double - noise)[:, 1:]).max() < 0.1
    assert (loud - quiet)[:, 0].min() > 0


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_resampling_keeps_what_8_khz_can_hold_and_nothing_else(rate: int) -> None:
    inner = slice(200, -200)
    kept = resampled(tone(1000, rate=rate), rate=rate)
    assert len(kept) == RATE
    assert np.abs(kept - tone(1000))[inner].max() < 100
    gone = resampled(tone(5200, rate=rate), rate=rate)
    assert np.abs(gone[inner]).max() < 20


@given(sound=sounds, channels=st.integers(1, 3))
def test_a_file_gives_the_samples_that_were_written(
    sound: Samples, channels: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    wav(path, np.repeat(sound, channels).tobytes(), channels=channels)
    assert np.array_equal(read_wav(path), sound)


REFUSED = {
    "no WAV": (b"RIFX" + bytes(40), "is no PCM WAV file"),
    "empty": (b"", "is no PCM WAV file"),
}


@pytest.mark.parametrize(("content", "says"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_wav_file_is_refused(
    content: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(WavError, match=says):
        read_wav(path)


def test_a_wav_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for change, says in (
        ({"width": 1}, "channels of 8 bits"),
        ({"rate": 7999}, "has 7999 samples a second"),
        ({"rate": 192_001}, "has 192001 samples a second"),
        ({"channels": 9}, "has 9 channels"),
    ):
        with pytest.raises(WavError, match=says):
            read_wav(wav(path, bytes(180), **change))
    with pytest.raises(WavError, match="holds no samples"):
        read_wav(wav(path, b""))
    with pytest.raises(WavError, match="longer than 60 seconds"):
        read_wav(wav(path, bytes(2 * (60 * RATE + 1))))


@given(
    start=st.integers(0, 43),
    field=st.binary(min_size=1, max_size=4),
    cut=st.integers(0, 120),
    claim=st.integers(0, 2**32 - 1),
)
def test_a_damaged_file_is_a_typed_error_or_sound(
    start: int,
    field: bytes,
    cut: int,
    claim: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    good = wav(path, bytes(range(100))).read_bytes()
    overwritten = good[:start] + field + good[start + len(field) :]
    claimed = good[:40] + struct.pack("<I", claim) + good[44:]
    for broken in (overwritten, claimed, good[:cut]):
        path.write_bytes(broken)
        try:
            samples = read_wav(path)
        except WavError:
            continue
        assert 0 < len(samples) <= 60 * RATE
        assert mfcc(samples).shape == (49, 10)


def test_a_missing_file_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none\.wav"):
        read_wav(tmp_path / "none.wav")


def test_the_front_end_can_be_copied_alone() -> None:
    source = Path(mfcc.__code__.co_filename).read_text()
    imports = {
        line.split()[1]
        for line in source.splitlines()
        if line.startswith(("import", "from"))
    }
    assert imports == {"wave", "pathlib", "typing", "numpy", "numpy.typing"}
