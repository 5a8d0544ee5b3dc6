"""The mean is numpy's, whatever the order; and what the optimizers make of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from broker_server.aggregators import weighted_mean
from broker_server.server_optimizers import fedavg, fedavgm
from wire_protocol.errors import EmptyRoundError
from wire_protocol.params import Vector

deltas = st.lists(
    st.tuples(
        arrays(np.float32, 5, elements=st.floats(-1e6, 1e6, width=32)),
        st.integers(1, 10_000),
    ),
    min_size=1,
    max_size=12,
)


def mean_of(updates: list[tuple[Vector, int]]) -> Vector:
    mean = weighted_mean()
    state = mean.zero(5)
    for delta, examples in updates:
        state = mean.add(state, delta, float(examples))
    return mean.result(state)


@given(deltas)
def test_the_mean_is_numpys_weighted_average(updates: list[tuple[Vector, int]]) -> None:
    expected = np.average(
        np.stack([delta.astype(np.float64) for delta, _ in updates]),
        axis=0,
        weights=[examples for _, examples in updates],
    )
    np.testing.assert_allclose(mean_of(updates), expected, rtol=1e-6, atol=1e-6)


@given(deltas, st.randoms(use_true_random=False))
def test_the_order_of_updates_changes_nothing_that_counts(
    updates: list[tuple[Vector, int]], random: object
) -> None:
    shuffled = list(updates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    np.testing.assert_allclose(
        mean_of(shuffled), mean_of(updates), rtol=1e-6, atol=1e-6
    )


def test_adding_does_not_change_the_delta() -> None:
    delta = np.ones(5, np.float32)
    mean_of([(delta, 3)])
    assert delta.tolist() == [1.0] * 5


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
