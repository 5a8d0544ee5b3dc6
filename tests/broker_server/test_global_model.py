"""The closed loop down to the devices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.global_model import advance, first_model, follow, listed_deltas
from broker_server.server_optimizers import fedavg, fedavgm
from tests.broker_server.small_server import LAYOUT
from wire_protocol.blobs import BlobRef
from wire_protocol.errors import DecodeError, EncodeError
from wire_protocol.messages import DeltaRef
from wire_protocol.params import Vector


def noise(seed: int) -> Vector:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.01, LAYOUT.size).astype(np.float32)


@pytest.mark.parametrize("codec", ["f32", "uq:1", "uq:4", "int8"])
def test_devices_that_follow_every_delta_hold_what_the_server_thinks(
    codec: str,
) -> None:
    optimizer = fedavgm(beta=0.5, learning_rate=1.0)
    model = first_model(LAYOUT, optimizer, seed=1)
    held = model.held
    for version in range(1, 20):
        model, delta = advance(model, noise(version), optimizer=optimizer, codec=codec)
        held = follow(held, delta, version=version)
        assert np.array_equal(held, model.held)


def test_what_one_delta_rounds_away_the_next_ones_bring() -> None:
    optimizer = fedavg()
    model = first_model(LAYOUT, optimizer, seed=1)
    model, _ = advance(model, noise(1), optimizer=optimizer, codec="uq:4")
    gap = float(np.abs(model.params - model.held).max())
    assert gap > 0
    still = np.zeros(LAYOUT.size, np.float32)
    for _ in range(30):
        model, _ = advance(model, still, optimizer=optimizer, codec="uq:1")
    assert float(np.abs(model.params - model.held).max()) < gap / 100


def test_the_seed_decides_the_first_version() -> None:
    first, again, other = (
        first_model(LAYOUT, fedavg(), seed=seed).params for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_step_that_is_not_finite_brings_no_version() -> None:
    optimizer = fedavgm(beta=0.5, learning_rate=100.0)
    model = first_model(LAYOUT, optimizer, seed=1)
    huge = np.full(LAYOUT.size, 3e38, np.float32)
    with pytest.raises(EncodeError):
        advance(model, huge, optimizer=optimizer, codec="uq:1")


def test_a_delta_of_another_version_is_not_followed() -> None:
    model = first_model(LAYOUT, fedavg(), seed=1)
    _, delta = advance(model, noise(1), optimizer=fedavg(), codec="uq:1")
    with pytest.raises(DecodeError):
        follow(model.held, delta, version=2)


@given(st.lists(st.integers(1, 500), max_size=20), st.integers(1, 1000))
def test_listed_deltas_are_the_newest_and_beat_the_keyframe(
    sizes: list[int], keyframe: int
) -> None:
    deltas = [DeltaRef(i + 1, BlobRef("0" * 64, size)) for i, size in enumerate(sizes)]
    listed = listed_deltas(deltas, keyframe_bytes=keyframe)
    assert list(listed) == deltas[len(deltas) - len(listed) :]
    assert sum(delta.blob.size for delta in listed) < keyframe
    assert len(listed) <= 8
