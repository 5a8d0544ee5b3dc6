"""Published files become exactly the arrays of the sets, or are refused."""

import gzip
import io
import struct
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_zoo.data import har_recordings, idx_files, speech_recordings
from model_zoo.data.har_recordings import ACTIVITIES, windows
from wire_protocol.errors import ConfigError

one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def recording(times_ms: list[int], labels: list[int]) -> bytes:
    """Return a recording whose first channel is the time in 100 ms."""
    lines = ["x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label"]
    for time, label in zip(times_ms, labels, strict=True):
        moment = 1_657_533_977_000 + time
        lines.append(f"{time / 100},1,-2,0,0.5,-0.25,{moment},{ACTIVITIES[label]}")
    return "\n".join(lines).encode() + b"\n"


def uneven(until_ms: int, seed: int) -> list[int]:
    """Return ascending times from 0 past ``until_ms``, some of them equal."""
    steps = np.random.default_rng(seed).integers(0, 30, until_ms).cumsum()
    return [0, *(int(time) for time in steps if time <= until_ms), until_ms + 1]


@given(seed=st.integers(0, 99), until_ms=st.integers(1000, 4000))
def test_windows_interpolate_uneven_samples_at_50_hz(seed: int, until_ms: int) -> None:
    times = uneven(until_ms, seed)
    made = windows({"s03_01_sw": recording(times, [2] * len(times))})
    kept_samples = until_ms // 20 + 1
    assert len(made["x"]) == (kept_samples - 50) // 25 + 1
    for number, window in enumerate(made["x"].astype(np.float64)):
        expected = (np.arange(50) + 25 * number) * 20 / 100
        np.testing.assert_allclose(window[:, 0], expected, rtol=1e-3)
        assert set(map(tuple, window[:, 1:])) == {(1, -2, 0, 0.5, -0.25)}
    assert set(made["y"]) == {2}


def test_a_window_is_kept_when_most_of_it_has_one_label() -> None:
    times = list(range(0, 2001, 20))
    for first, kept in ((30, [0]), (29, []), (20, [1]), (21, [])):
        labels = [0] * first + [1] * (50 - first)
        text = recording([*times[:50], 985], [*labels, 1])
        assert windows_of(text) == kept


def test_values_are_rounded_to_32_bits_before_16() -> None:
    # Above the middle of two float16 values by less than float32 can tell.
    value = 1 + 2**-11 + 2**-30
    text = recording(list(range(0, 1001, 10)), [0] * 101)
    made = windows({"s01_01_sp": text.replace(b",1,-2,", f",{value},-2,".encode())})
    assert set(made["x"][..., 1].ravel().tolist()) == {1.0}
    assert np.float16(value) != 1.0


def windows_of(text: bytes) -> list[int]:
    whole = recording(list(range(0, 1001, 10)), [4] * 101)
    made = windows({"s01_01_sp": text, "s02_01_sp": whole})
    return [int(y) for y in made["y"][made["client_id"] == 1]]


def test_whose_a_window_is_and_how_it_judges_comes_from_the_name() -> None:
    text = recording(list(range(0, 1001, 10)), [3] * 101)
    names = [f"s05_{n:02d}_sp" for n in range(1, 11)] + ["s16_01_sw", "s17_01_sw"]
    made = windows(dict.fromkeys(reversed(names), text))
    assert made["client_id"].tolist() == [5] * 10 + [16, 17]
    assert made["device"].tolist() == [0] * 10 + [1, 1]
    assert made["split_within"].tolist() == [0] * 7 + [1] * 3 + [0, 0]
    assert made["split_subject"].tolist() == [0] * 11 + [1]
    assert {array.dtype.str for array in made.values()} == {"<f2", "|u1"}


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in members.items():
            file.writestr(name, text)
    return path


def test_an_archive_gives_its_recordings_and_nothing_else(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "a.zip",
        {
            "repo-1/DATA/s01/s01_02_sp.csv": b"one",
            "repo-1/DATA/subjects_info.csv": b"two",
            "repo-1/README.md": b"three",
            "repo-1/DATA/s01/../../s01_03_sp.csv": b"four",
        },
    )
    assert har_recordings.read_archive(path) == {"s01_02_sp": b"one"}


def test_recordings_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"r/DATA/s01/s01_02_sp.csv": b"hostile"})
    with pytest.raises(ConfigError, match="does not hold the published recordings"):
        har_recordings.convert([path])


def test_an_archive_too_large_is_refused(tmp_path: Path) -> None:
    large = archive(tmp_path / "a.zip", {"r/DATA/s01/s01_02_sp.csv": bytes(2**20 + 1)})
    many = archive(
        tmp_path / "b.zip",
        {f"r/DATA/s{n // 100:02d}/s{n // 100:02d}_{n % 100:02d}_sp.csv": b""
         for n in range(1001)},
    )  # fmt: skip
    for path in (large, many):
        with pytest.raises(ConfigError, match="larger than the published archive"):
            har_recordings.read_archive(path)


@one_folder
@given(content=st.binary(max_size=200), cut=st.integers(0, 400))
def test_a_damaged_download_is_refused(
    tmp_path: Path, content: bytes, cut: int
) -> None:
    good = archive(tmp_path / "a.zip", {"r/DATA/s01/s01_02_sp.csv": bytes(5000)})
    zipped = gzip.compress(bytes(1000))
    for broken in (content, good.read_bytes()[:cut][:-1], zipped[: min(cut, 20)]):
        path = tmp_path / "broken"
        path.write_bytes(broken)
        with pytest.raises(ConfigError):
            har_recordings.convert([path])
        with pytest.raises(ConfigError):
            idx_files.read_idx(path, shape=(3, 8))


def idx(code: int, shape: tuple[int, ...], body: bytes) -> bytes:
    header = bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return gzip.compress(header + body, 1)


def test_an_idx_file_is_read_as_its_page_says(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(idx(8, (2, 3), bytes(range(6))))
    assert idx_files.read_idx(path, shape=(2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]
    path.write_bytes(idx(12, (2,), struct.pack(">2i", -1, 70_000)))
    assert idx_files.read_idx(path, shape=(2,)).tolist() == [-1, 70_000]


@pytest.mark.parametrize(
    "content",
    [
        idx(8, (3, 2), bytes(6)),
        idx(8, (6,), bytes(6)),
        idx(9, (2, 3), bytes(6)),
        idx(8, (2, 3), bytes(5)),
        idx(8, (2, 3), bytes(7)),
        idx(8, (2, 3), bytes(10**6)),
        gzip.compress(b""),
        gzip.compress(b"\1" + bytes(17)),
    ],
    ids=["shape", "ndim", "dtype", "short", "long", "bomb", "empty", "magic"],
)
def test_another_idx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"is not an IDX file of shape \[2, 3\]"):
        idx_files.read_idx(path, shape=(2, 3))


def test_mnist_images_meet_their_qmnist_rows(tmp_path: Path) -> None:
    rows = np.arange(60_000 * 8, dtype=np.int64).reshape(60_000, 8) % 10_007
    rows[:, 0] = np.arange(60_000) % 10
    labels = idx(12, (60_000, 8), rows.astype(">i4").tobytes())
    contents = [
        idx(8, (60_000, 28, 28), b"\1" * (60_000 * 784)),
        labels,
        idx(8, (10_000, 28, 28), b"\2" * (10_000 * 784)),
        labels,
    ]
    files = [tmp_path / f"{number}.gz" for number in range(4)]
    for path, content in zip(files, contents, strict=True):
        path.write_bytes(content)
    made = idx_files.convert(files)
    order = np.r_[0:60_000, 0:10_000]
    assert np.array_equal(made["y"], order % 10)
    assert np.array_equal(made["client_id"], rows[order, 2])
    assert np.array_equal(made["split"], np.arange(70_000) >= 60_000)
    assert np.array_equal(made["x"][:, 0, 0], made["split"] + 1)


def sound(samples: list[int], *, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, rate, 0, "NONE", ""))
        writer.writeframes(np.array(samples, "<i2").tobytes())
    return file.getvalue()


def test_recordings_are_joined_in_the_order_of_their_file_names(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "a.zip",
        {
            "fsdd-1/recordings/7_theo_2.wav": sound([5, -6, 7]),
            "fsdd-1/recordings/7_theo_10.wav": sound([8]),
            "fsdd-1/recordings/0_george_3.wav": sound([-32768, 32767]),
            "fsdd-1/recordings/0_nobody_3.wav": b"not looked at",
            "fsdd-1/README.md": b"nor this",
        },
    )
    made = speech_recordings.convert([path])
    assert made["audio"].tolist() == [-32768, 32767, 8, 5, -6, 7]
    assert made["audio_offset"].tolist() == [0, 2, 3, 6]
    assert made["y"].tolist() == [0, 7, 7]
    assert made["client_id"].tolist() == [0, 4, 4]
    assert made["recording_index"].tolist() == [3, 10, 2]


def test_what_is_no_archive_of_recordings_is_refused(tmp_path: Path) -> None:
    name = "r/recordings/0_theo_0.wav"
    for member, content, says in (
        ("r/README.md", b"", "holds no recordings"),
        (name, b"RIFF", "cannot be read as an archive of recordings"),
        (name, sound([1], rate=16000), "not mono of 16 bits and 8 kHz"),
        (name, bytes(256 * 1024 + 1), "larger than the published archive"),
    ):
        path = archive(tmp_path / "a.zip", {member: content})
        with pytest.raises(ConfigError, match=says):
            speech_recordings.convert([path])


@one_folder
@given(content=st.binary(max_size=200), cut=st.integers(0, 400))
def test_a_damaged_archive_of_recordings_is_refused(
    tmp_path: Path, content: bytes, cut: int
) -> None:
    member = "r/recordings/0_theo_0.wav"
    good = archive(tmp_path / "a.zip", {member: sound([1, 2, 3] * 99)}).read_bytes()
    noisy = archive(tmp_path / "b.zip", {member: content}).read_bytes()
    for broken in (content, good[:cut][:-1], noisy):
        path = tmp_path / "broken"
        path.write_bytes(broken)
        with pytest.raises(ConfigError):
            speech_recordings.convert([path])
