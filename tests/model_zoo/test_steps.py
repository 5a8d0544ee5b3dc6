"""Laws of the training step, on the numpy oracle."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.model import Model
from model_zoo.runners import oracle
from model_zoo.stepping import Settings, train
from tests.model_zoo.cases import CASES, batches_of, distance, params_of

EACH = pytest.mark.parametrize("model", CASES.values(), ids=CASES)
PLAIN = Settings(learning_rate=1.0)


@EACH
def test_padding_changes_nothing_at_all(model: Model) -> None:
    run, params = oracle(model), params_of(model, seed=1)
    batch = next(batches_of(model, seed=2))
    w = batch.w.copy()
    w[1] = 0
    other = batch.x.copy()
    other[1] = 7.5
    y = batch.y.copy()
    y[1:2] = (y[1:2] + 1) % 3
    one = train(run, params, batches=[replace(batch, w=w)], settings=PLAIN.of(model))
    two = train(
        run,
        params,
        batches=[replace(batch, x=other, y=y, w=w)],
        settings=PLAIN.of(model),
    )
    assert one.losses == two.losses
    assert distance(one.params, two.params) == 0


@given(kept=st.integers(1, 3), seed=st.integers(0, 50))
def test_a_padded_batch_equals_the_smaller_batch(kept: int, seed: int) -> None:
    model = CASES["relu"]
    small = replace(model, batch=kept)
    batch = next(batches_of(model, seed=seed))
    w = batch.w.copy()
    w[kept:] = 0
    params = params_of(model, seed=seed)
    padded = train(oracle(model), params, batches=[replace(batch, w=w)], settings=PLAIN)
    part = replace(batch, x=batch.x[:kept], y=batch.y[:kept], w=w[:kept])
    alone = train(oracle(small), params, batches=[part], settings=PLAIN)
    assert padded.losses == pytest.approx(alone.losses)
    assert distance(padded.params, alone.params) < 1e-12


def test_a_batch_of_padding_alone_changes_nothing() -> None:
    model = CASES["conv1d_same"]
    params = params_of(model, seed=1)
    batch = next(batches_of(model, seed=2))
    empty = replace(batch, w=np.zeros_like(batch.w))
    outcome = train(oracle(model), params, batches=[empty], settings=PLAIN)
    assert outcome.losses == (0.0,)
    assert distance(outcome.params, params) == 0


@given(factor=st.floats(0.25, 8))
def test_only_the_ratio_of_weights_matters(factor: float) -> None:
    model = CASES["dense"]
    run, params = oracle(model), params_of(model, seed=1)
    batch = next(batches_of(model, seed=2))
    heavier = replace(batch, w=batch.w * np.float32(factor))
    one = train(run, params, batches=[batch], settings=PLAIN)
    two = train(run, params, batches=[heavier], settings=PLAIN)
    assert distance(one.params, two.params) < 1e-6


@given(momentum=st.floats(0, 0.99), lr=st.floats(0.001, 0.5))
def test_momentum_adds_the_faded_velocity(momentum: float, lr: float) -> None:
    model = CASES["dense"]
    run, start = oracle(model), params_of(model, seed=1)
    momentum, lr = float(np.float32(momentum)), float(np.float32(lr))
    one, two = batches_of(model, seed=2, steps=2)
    both = train(
        run, start, batches=[one, two], settings=Settings(lr, momentum=momentum)
    )
    first = train(run, start, batches=[one], settings=PLAIN)
    middle = [p - lr * s for p, s in zip(start, first.state, strict=True)]
    second = train(run, middle, batches=[two], settings=PLAIN)
    velocities = [
        momentum * v + g for v, g in zip(first.state, second.state, strict=True)
    ]
    wanted = [p - lr * v for p, v in zip(middle, velocities, strict=True)]
    assert distance(both.state, velocities) < 1e-9
    assert distance(both.params, wanted) < 1e-9


@given(mu=st.floats(0, 4))
def test_the_proximal_term_pulls_towards_the_anchor(mu: float) -> None:
    model = CASES["dense"]
    run, start = oracle(model), params_of(model, seed=1)
    mu = float(np.float32(mu))
    batches = list(batches_of(model, seed=2, steps=2))
    free = train(run, start, batches=batches[:1], settings=PLAIN)
    after = train(run, free.params, batches=batches[1:], settings=PLAIN)
    held = train(run, start, batches=batches, settings=replace(PLAIN, mu=mu))
    wanted = [
        p - mu * (q - anchor)
        for p, q, anchor in zip(after.params, free.params, start, strict=True)
    ]
    assert distance(held.params, wanted) < 1e-9


def test_frozen_parameters_stay_even_against_momentum_and_anchor() -> None:
    model = CASES["frozen"]
    start = params_of(model, seed=1)
    outcome = train(
        oracle(model),
        start,
        batches=batches_of(model, seed=2, steps=5),
        settings=Settings(0.1, momentum=0.9, mu=0.5),
    )
    for spec, before, after in zip(
        model.layout.specs, start, outcome.params, strict=True
    ):
        assert np.array_equal(before, after) == (not spec.trainable), spec.name
