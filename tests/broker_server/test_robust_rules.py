"""Laws of the robust rules: who stays where, whatever a minority sends."""

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_server.aggregators import Aggregator, Cohort, aggregated
from broker_server.gram import Matrix, distances, gram
from broker_server.robust_rules import (
    centered_clip,
    coordinate_median,
    geometric_median,
    geometric_median_weights,
    trimmed_mean,
)
from wire_protocol.errors import EmptyRoundError
from wire_protocol.params import Vector
from wire_protocol.uniform_quantizer import CHUNK

RULES: dict[str, Callable[[], Aggregator]] = {
    "rfa": geometric_median,
    "centered-clip": centered_clip,
    "trimmed-mean": functools.partial(trimmed_mean, 0.4),
    "median": coordinate_median,
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
SIZE = 4
few = settings(max_examples=40)


def drawn(seed: int, count: int, shift: float) -> Vector:
    """Return ``count`` deltas that have something in common, some of them zero."""
    rng = np.random.default_rng(seed)
    deltas = rng.standard_t(3, (count, SIZE)) * rng.integers(0, 9, (count, 1)) + shift
    return deltas.astype(np.float32)


cohorts = st.builds(
    drawn, st.integers(0, 2**32), st.integers(1, 9), st.floats(-10.0, 10.0)
)
one_delta = cohorts.map(lambda deltas: deltas[0])


def cohort_of(deltas: Vector, weights: Sequence[float] | None = None) -> Cohort:
    """Return rows as a cohort whose chunks share a scratch, as the real ones."""
    size = deltas.shape[1]

    def chunks(delta: Vector, factor: float, scratch: Vector) -> Iterator[Vector]:
        for start in range(0, size, CHUNK):
            part = delta[start : start + CHUNK]
            np.multiply(part, np.float32(factor), out=scratch[: part.size])
            yield scratch[: part.size]

    def opened(scratch: Vector, factors: Sequence[float]) -> list[Iterator[Vector]]:
        return [
            chunks(delta, factor, scratch)
            for delta, factor in zip(deltas, factors, strict=True)
        ]

    return Cohort(size, tuple(weights or [1.0] * len(deltas)), opened)


def result(rule: Callable[[], Aggregator], deltas: Vector) -> Vector:
    return aggregated(cohort_of(deltas), rule())


@every_rule
@few
@given(deltas=cohorts, random=st.randoms(use_true_random=False))
def test_the_order_of_updates_changes_nothing_that_counts(
    rule: Callable[[], Aggregator], deltas: Vector, random: object
) -> None:
    order = list(range(len(deltas)))
    random.shuffle(order)  # type: ignore[attr-defined]
    # two ways round a tie of distances may differ by the smoothing
    span = float(np.ptp(deltas)) if deltas.size else 0.0
    np.testing.assert_allclose(
        result(rule, deltas[order]), result(rule, deltas), atol=1e-4 + 1e-3 * span
    )


@every_rule
@few
@given(delta=one_delta)
def test_updates_that_are_all_equal_are_what_comes_of_them(
    rule: Callable[[], Aggregator], delta: Vector
) -> None:
    found = result(rule, np.stack([delta] * 5))
    np.testing.assert_allclose(found, delta, rtol=1e-5, atol=1e-5)


@every_rule
@few
@given(deltas=cohorts, factor=st.sampled_from([0.25, 2.0, 64.0]))
def test_a_rule_scales_with_its_updates(
    rule: Callable[[], Aggregator], deltas: Vector, factor: float
) -> None:
    scaled = result(rule, (factor * deltas).astype(np.float32))
    np.testing.assert_allclose(
        scaled, factor * result(rule, deltas), rtol=1e-3, atol=1e-3 * factor
    )


@every_rule
@few
@given(deltas=cohorts)
def test_what_comes_of_updates_is_no_longer_than_the_longest(
    rule: Callable[[], Aggregator], deltas: Vector
) -> None:
    wide = deltas.astype(np.float64)
    if rule in (RULES["rfa"], RULES["centered-clip"]):
        longest = np.linalg.norm(wide, axis=1).max()
        assert np.linalg.norm(result(rule, deltas)) <= longest * (1 + 1e-5) + 1e-5
    else:
        found = result(rule, deltas)
        assert (found <= wide.max(0) + 1e-4).all()
        assert (found >= wide.min(0) - 1e-4).all()


@every_rule
@few
@given(
    honest=st.builds(drawn, st.integers(0, 2**32), st.just(7), st.floats(-3.0, 3.0)),
    liars=st.integers(1, 2),
    far=one_delta,
    size=st.sampled_from([10.0, 1e4, 1e8]),
)
def test_a_minority_however_far_off_leaves_it_near_the_others(
    rule: Callable[[], Aggregator],
    honest: Vector,
    liars: int,
    far: Vector,
    size: float,
) -> None:
    deltas = np.concatenate([honest, np.stack([far * np.float32(size)] * liars)])
    center = honest.astype(np.float64).mean(0)
    radius = np.linalg.norm(honest - center, axis=1).max()
    away = np.linalg.norm(result(rule, deltas.astype(np.float32)) - center)
    # of a geometric median: 2 (1 - a) / (1 - 2 a) radii for a part a of liars, plus
    # what centered clipping is off for having begun at zero
    bound = 4 * radius + np.linalg.norm(center) + 1e-3
    assert away <= bound


def test_a_plain_mean_would_not_stay_there() -> None:
    """The law above can fail: a mean follows one liar anywhere."""
    honest = np.zeros((7, SIZE), np.float32)
    deltas = np.concatenate([honest, np.full((1, SIZE), 1e8, np.float32)])
    assert np.linalg.norm(deltas.mean(0)) > 1e7


@given(deltas=cohorts)
def test_the_gram_matrix_tells_norms_and_distances(deltas: Vector) -> None:
    wide = deltas.astype(np.float64)
    matrix = gram(cohort_of(deltas))
    np.testing.assert_allclose(matrix, wide @ wide.T, rtol=1e-12, atol=1e-9)
    weights = np.full(len(deltas), 1 / len(deltas))
    expected = np.linalg.norm(wide - weights @ wide, axis=1)
    np.testing.assert_allclose(distances(matrix, weights), expected, atol=1e-4)


def test_a_gram_matrix_is_made_chunk_by_chunk() -> None:
    rng = np.random.default_rng(1)
    deltas = rng.normal(size=(3, CHUNK + 9)).astype(np.float32)
    wide = deltas.astype(np.float64)
    np.testing.assert_allclose(gram(cohort_of(deltas)), wide @ wide.T, rtol=1e-10)


@given(
    deltas=st.builds(drawn, st.integers(0, 2**32), st.just(5), st.floats(-3.0, 3.0)),
    told=st.lists(st.floats(0.1, 10), min_size=5, max_size=5),
)
def test_no_point_has_a_smaller_sum_of_distances_than_the_geometric_median(
    deltas: Vector, told: list[float]
) -> None:
    voices = np.array(told)
    wide = deltas.astype(np.float64)
    weights = geometric_median_weights(wide @ wide.T, voices)
    assert float(weights.sum()) == pytest.approx(1.0)

    def total(point: Matrix) -> float:
        return float(voices @ np.linalg.norm(wide - point, axis=1))

    best = min(map(total, [*wide, voices @ wide / voices.sum()]))
    assert total(weights @ wide) <= best * 1.05 + 1e-3


@every_rule
def test_no_update_makes_no_delta(rule: Callable[[], Aggregator]) -> None:
    with pytest.raises(EmptyRoundError):
        result(rule, np.empty((0, SIZE), np.float32))


TRIMS: dict[str, tuple[float, list[float], float]] = {
    "nothing": (0.0, [1, 2, 9], 4.0),
    "one at either end": (0.34, [1, 2, 900], 2.0),
    "two of seven": (0.3, [-1e9, -5, 1, 2, 3, 7, 1e9], 2.0),
    "never everything": (0.49, [4.0], 4.0),
    "two are left": (0.49, [0, 1, 3, 8], 2.0),
}


@pytest.mark.parametrize(("trim", "values", "mean"), TRIMS.values(), ids=list(TRIMS))
def test_what_a_trimmed_mean_leaves_out(
    trim: float, values: list[float], mean: float
) -> None:
    deltas = np.array(values, np.float32)[:, None]
    found = aggregated(cohort_of(deltas), trimmed_mean(trim))
    assert found.tolist() == pytest.approx([mean])


@given(deltas=cohorts)
def test_the_median_is_numpys(deltas: Vector) -> None:
    found = result(coordinate_median, deltas)
    np.testing.assert_allclose(found, np.median(deltas, axis=0), rtol=1e-6, atol=1e-6)
