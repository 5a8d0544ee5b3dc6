"""The mean is numpy's, chunk by chunk; and what the optimizers make of it."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from broker_server.aggregators import Cohort, aggregated, weighted_mean
from broker_server.server_optimizers import fedavg, fedavgm
from wire_protocol.errors import EmptyRoundError
from wire_protocol.params import Vector
from wire_protocol.uniform_quantizer import CHUNK

Updates = list[tuple[Vector, float]]
deltas = st.lists(
    st.tuples(
        arrays(np.float32, 5, elements=st.floats(-1e6, 1e6, width=32)),
        st.floats(0.25, 10_000),
    ),
    min_size=1,
    max_size=12,
)


def cohort_of(updates: Updates, *, size: int) -> Cohort:
    """Return ``updates`` as a cohort whose chunks share a scratch, as the real ones."""

    def chunks(delta: Vector, factor: float, scratch: Vector) -> Iterator[Vector]:
        for start in range(0, size, CHUNK):
            part = delta[start : start + CHUNK]
            np.multiply(part, np.float32(factor), out=scratch[: part.size])
            yield scratch[: part.size]

    def opened(scratch: Vector, factors: Sequence[float]) -> list[Iterator[Vector]]:
        return [
            chunks(delta, factor, scratch)
            for (delta, _), factor in zip(updates, factors, strict=True)
        ]

    return Cohort(size, tuple(weight for _, weight in updates), opened)


def mean_of(updates: Updates, *, size: int = 5) -> Vector:
    return aggregated(cohort_of(updates, size=size), weighted_mean())


def assert_is_the_mean(mean: Vector, updates: Updates) -> None:
    """Within two units in the last place for every update that was added."""
    wide = np.stack([delta.astype(np.float64) for delta, _ in updates])
    weights = np.array([weight for _, weight in updates]) / sum(w for _, w in updates)
    bound = 2 * len(updates) * 2.0**-24 * (weights @ np.abs(wide)) + 1e-38
    assert mean.dtype == np.float32
    assert (np.abs(mean - weights @ wide) <= bound).all()


@given(deltas)
def test_the_mean_is_numpys_weighted_average(updates: Updates) -> None:
    assert_is_the_mean(mean_of(updates), updates)


@given(deltas, st.randoms(use_true_random=False))
def test_the_order_of_updates_changes_nothing_that_counts(
    updates: Updates, random: object
) -> None:
    shuffled = list(updates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert_is_the_mean(mean_of(shuffled), updates)


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_a_mean_of_any_size_is_made_chunk_by_chunk(size: int) -> None:
    rng = np.random.default_rng(size)
    updates: Updates = [
        (rng.normal(size=size).astype(np.float32), float(weight))
        for weight in (1, 20, 3)
    ]
    assert_is_the_mean(mean_of(updates, size=size), updates)


def test_every_part_of_a_mean_is_there_once() -> None:
    size = 2 * CHUNK + 3
    cohort = cohort_of([(np.zeros(size, np.float32), 1.0)], size=size)
    spans = [(where.start, where.stop) for where, _ in cohort.chunks([1.0])]
    assert spans == [(0, CHUNK), (CHUNK, 2 * CHUNK), (2 * CHUNK, size)]


def test_a_round_without_updates_has_no_mean() -> None:
    with pytest.raises(EmptyRoundError):
        mean_of([])


def test_fedavg_adds_the_mean_delta() -> None:
    optimizer = fedavg(learning_rate=0.5)
    params, momentum = optimizer.apply(
        np.ones(2, np.float32), optimizer.init(2), np.full(2, 4, np.float32)
    )
    assert params.tolist() == [3.0, 3.0]
    assert momentum.size == 0
    assert params.dtype == np.float32


def test_fedavgm_remembers_half_of_its_last_step() -> None:
    optimizer = fedavgm(beta=0.5, learning_rate=0.1)
    params, momentum = np.zeros(1, np.float32), optimizer.init(1)
    steps = []
    for _ in range(3):
        params, momentum = optimizer.apply(params, momentum, np.ones(1, np.float32))
        steps.append(float(params[0]))
    # velocities 1, 1.5, 1.75, each times the learning rate
    np.testing.assert_allclose(steps, [0.1, 0.25, 0.425], rtol=1e-6)
    assert params.dtype == momentum.dtype == np.float32
