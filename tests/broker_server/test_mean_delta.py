"""The mean of stored updates: exact weights, same bits every time, bounded memory."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.guard import guarded_mean
from broker_server.guard_settings import GuardSection
from broker_server.stored_cohort import Contribution
from broker_server.stored_update import Stored, StoredUpdate
from tools.merge_memory import fill, measured_peak, merge, update_frame
from wire_protocol.codecs import codec_named
from wire_protocol.errors import DecodeError, EmptyRoundError
from wire_protocol.params import Vector
from wire_protocol.uniform_quantizer import CHUNK

SIZE = CHUNK + 1000
CODECS = ("uq", "int8", "f16", "f32")


def delta(seed: int, size: int = SIZE) -> Vector:
    drawn = np.random.default_rng(seed).standard_t(3, size) / 100
    return drawn.astype(np.float32)


def frames(codec: str, examples: list[int]) -> list[bytes]:
    return [
        update_frame(delta(seed), codec=codec, examples=count)
        for seed, count in enumerate(examples)
    ]


def mean_delta(updates: Iterable[tuple[Stored, float]], *, size: int) -> Vector:
    """Return the mean as the guard has it of updates that it has no reason to touch."""
    contributions = [
        Contribution(f"device-{number}", stored, factor)
        for number, (stored, factor) in enumerate(updates)
    ]
    guard = GuardSection(clip=100.0, weight_cap=1e6)
    return guarded_mean(contributions, size=size, guard=guard).mean


@pytest.mark.parametrize("codec", CODECS)
def test_the_mean_is_that_of_whole_vectors_added_up_in_float64(codec: str) -> None:
    examples, factors = [10, 200, 3], [1.0, 0.5, 0.25]
    stored = frames(codec, examples)
    whole = [
        codec_named(codec).decode(codec_named(codec).encode(delta(seed)), SIZE)
        for seed in range(3)
    ]
    weights = np.array(examples) * factors
    expected = np.average(np.array(whole, np.float64), axis=0, weights=weights)
    bound = np.average(np.abs(whole), axis=0, weights=weights)
    mean = mean_delta(zip(stored, factors, strict=True), size=SIZE)
    assert (np.abs(mean - expected) <= 6 * 2.0**-24 * bound + 1e-38).all()


@pytest.mark.parametrize("codec", CODECS)
def test_files_and_bytes_have_the_same_mean_to_the_bit_every_time(codec: str) -> None:
    stored = frames(codec, [10, 200, 3])
    means = [
        mean_delta(((opened(one), 1.0) for one in stored), size=SIZE).tobytes()
        for opened in (bytes, io.BytesIO, bytes)
    ]
    assert len(set(means)) == 1


def test_codecs_can_meet_in_one_mean() -> None:
    stored = [
        update_frame(np.ones(SIZE, np.float32), codec=codec, examples=5)
        for codec in ("f32", "int8", "f16")
    ]
    mean = mean_delta(((one, 1.0) for one in stored), size=SIZE)
    np.testing.assert_allclose(mean, 1.0, rtol=1e-6)


def test_files_are_closed_even_if_one_is_damaged() -> None:
    good, bad = frames("f32", [1, 2])
    files = [io.BytesIO(good), io.BytesIO(bad[:-1]), io.BytesIO(good)]
    with pytest.raises(DecodeError):
        mean_delta(((file, 1.0) for file in files), size=SIZE)
    assert all(file.closed for file in files)


def test_no_update_has_no_mean() -> None:
    with pytest.raises(EmptyRoundError):
        mean_delta([], size=SIZE)


@given(raw=st.binary(max_size=200), whole=st.booleans())
def test_what_is_no_update_is_refused(raw: bytes, whole: bool) -> None:
    stored = (
        update_frame(delta(0, 3), codec="f32", examples=1) if whole else b""
    ) + raw
    if whole and not raw:
        return
    for opened in (stored, io.BytesIO(stored)):
        with pytest.raises(DecodeError):
            mean_delta([(opened, 1.0)], size=3)


def test_an_update_can_be_gone_over_again() -> None:
    update = StoredUpdate(io.BytesIO(frames("uq", [1])[0]))
    out = np.empty(CHUNK, np.float32)
    first, again = (
        [chunk.tobytes() for chunk in update.chunks(SIZE, out=out, factor=1.0)]
        for _ in range(2)
    )
    assert first == again


@pytest.mark.parametrize("codec", ["uq", "f32"])
def test_merging_a_round_from_the_store_gives_the_same_bits_again(
    tmp_path: Path, codec: str
) -> None:
    digests = set()
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        fill(folder, codec=codec, clients=4, values=SIZE)
        digests.add(merge(folder))
    assert len(digests) == 1


@pytest.mark.parametrize("codec", ["uq", "f32"])
def test_thirty_updates_of_a_million_parameters_merge_in_80_mib(codec: str) -> None:
    assert measured_peak(codec, clients=30, values=1_000_000) <= 80
