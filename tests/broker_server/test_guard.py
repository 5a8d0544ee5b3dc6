"""The guard: clip, weigh, merge; bounded and the same bits, whatever was accepted."""

import io
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_server.guard import Guarded, guarded_mean
from broker_server.guard_settings import DENSE_ONLY, GuardMode, GuardSection
from broker_server.stored_cohort import Contribution
from tools.merge_memory import update_frame
from wire_protocol.codecs import codec_named
from wire_protocol.errors import ConfigError, EmptyRoundError
from wire_protocol.params import Vector
from wire_protocol.uniform_quantizer import CHUNK

MODES: tuple[GuardMode, ...] = get_args(GuardMode)
every_mode = pytest.mark.parametrize("mode", MODES)
SIZE = 8


def drawn(seed: int, exponents: list[float]) -> list[Vector]:
    """Return one delta for each exponent, of about that size."""
    rng = np.random.default_rng(seed)
    return [
        (rng.standard_t(3, SIZE) * 10.0**exponent).astype(np.float32)
        for exponent in exponents
    ]


deltas = st.builds(
    drawn, st.integers(0, 2**32), st.lists(st.floats(-30, 34), min_size=1, max_size=6)
)
few = settings(max_examples=40)


def contributions(
    rows: Sequence[Vector],
    *,
    codec: str = "f32",
    examples: Sequence[int] = (),
    norms: Sequence[float] = (),
) -> list[Contribution]:
    """Return the updates of devices d0, d1, ..."""
    return [
        Contribution(
            f"d{number}",
            update_frame(
                row, codec=codec, examples=examples[number] if examples else 10
            ),
            norm=norms[number] if norms else None,
        )
        for number, row in enumerate(rows)
    ]


def guarded(
    rows: Sequence[Vector], mode: GuardMode = "mean", *, codec: str = "f32"
) -> Guarded:
    return guarded_mean(
        contributions(rows, codec=codec),
        size=rows[0].size,
        guard=GuardSection(mode=mode),
    )


def norm(vector: Vector) -> float:
    return float(np.linalg.norm(vector.astype(np.float64)))


@pytest.mark.parametrize("mode", [one for one in MODES if one not in DENSE_ONLY])
@few
@given(rows=deltas)
def test_what_is_merged_is_no_longer_than_the_bound(
    mode: GuardMode, rows: list[Vector]
) -> None:
    found = guarded(rows, mode)
    assert norm(found.mean) <= found.bound * (1 + 1e-4) + 1e-30


@every_mode
@few
@given(rows=deltas)
def test_whatever_is_finite_merges_into_something_finite(
    mode: GuardMode, rows: list[Vector]
) -> None:
    assert np.isfinite(guarded(rows, mode).mean).all()


@every_mode
@pytest.mark.parametrize("codec", ["f32", "int8"])
def test_updates_as_large_as_numbers_can_be_move_nothing(
    mode: GuardMode, codec: str
) -> None:
    honest = [np.full(SIZE, value, np.float32) for value in (1.0, 1.1, 0.9, 1.0)]
    # int8 has no code for the very largest values of float32
    value = 3e38 if codec == "f32" else 1e36
    rows = [*honest, np.full(SIZE, -value, np.float32)]
    found = guarded(rows, mode, codec=codec)
    assert norm(found.mean) <= 1.2 * norm(honest[0])
    assert found.mean.min() > 0.2


@every_mode
@pytest.mark.parametrize("codec", ["f32", "int8", "uq"])
def test_a_repeated_merge_has_the_same_bits(mode: GuardMode, codec: str) -> None:
    size = CHUNK + 77
    rng = np.random.default_rng(5)
    rows = [
        (rng.standard_t(3, size) * scale).astype(np.float32) for scale in (1, 2, 9, 0.3)
    ]
    frames = [
        update_frame(row, codec=codec, examples=10 + number)
        for number, row in enumerate(rows)
    ]
    found = []
    for opened in (bytes, io.BytesIO, bytes):
        merged = guarded_mean(
            [
                Contribution(f"d{number}", opened(stored))
                for number, stored in enumerate(frames)
            ],
            size=size,
            guard=GuardSection(mode=mode),
            history=[("d0", 3.0), ("x", 5.0)],
        )
        found.append((merged.mean.tobytes(), merged.bound, merged.assessments))
    assert found[0] == found[1] == found[2]


def test_a_norm_that_is_stored_is_the_one_that_is_clipped() -> None:
    rows = [np.full(SIZE, value, np.float32) for value in (1.0, 1.0, 4.0)]
    told = [norm(row) for row in rows]
    with_norms = guarded_mean(contributions(rows, norms=told), size=SIZE)
    without = guarded_mean(contributions(rows), size=SIZE)
    np.testing.assert_allclose(with_norms.mean, without.mean, rtol=1e-6)
    np.testing.assert_allclose(with_norms.mean, 1.0, rtol=1e-6)


def test_history_holds_a_small_fleet_to_what_was_usual() -> None:
    rows = [np.full(SIZE, 1e6, np.float32)]
    history = [("d0", 2.0), ("d1", 2.0), ("d2", 2.0)]
    found = guarded_mean(contributions(rows), size=SIZE, history=history)
    assert norm(found.mean) == pytest.approx(2.0, rel=1e-5)


def test_a_claim_of_examples_counts_up_to_the_cap() -> None:
    rows = [np.full(SIZE, value, np.float32) for value in (1.0, 1.0, 1.0, -1.0)]
    merged = guarded_mean(
        contributions(rows, examples=[10, 10, 10, 10**9]),
        size=SIZE,
        guard=GuardSection(weight_cap=2.0),
    )
    np.testing.assert_allclose(merged.mean, (3 - 2) / 5, rtol=1e-6)


@pytest.mark.parametrize("mode", ["rfa", "centered-clip"])
def test_robust_modes_believe_no_claim_above_the_median(mode: GuardMode) -> None:
    rows = [np.full(SIZE, value, np.float32) for value in (1.0, 1.1, 0.9, -1.0)]
    modest, bold = (
        guarded_mean(
            contributions(rows, examples=[10, 10, 10, claim]),
            size=SIZE,
            guard=GuardSection(mode=mode),
        ).mean
        for claim in (10, 10**9)
    )
    np.testing.assert_allclose(bold, modest, rtol=1e-5)


def test_an_update_that_is_not_too_long_is_merged_as_it_is() -> None:
    row = np.linspace(-1, 1, SIZE, dtype=np.float32)
    assert np.array_equal(guarded([row]).mean, row)


@every_mode
def test_a_fleet_that_has_learned_nothing_merges_nothing(mode: GuardMode) -> None:
    found = guarded([np.zeros(SIZE, np.float32)] * 3, mode)
    assert not found.mean.any()
    assert found.bound == 0.0


@every_mode
def test_no_update_makes_no_merge(mode: GuardMode) -> None:
    with pytest.raises(EmptyRoundError):
        guarded_mean([], size=SIZE, guard=GuardSection(mode=mode))


WRONG: dict[str, dict[str, float]] = {
    "clip": {"clip": 0.0},
    "window": {"window": 0},
    "weight_cap": {"weight_cap": 0.5},
    "trim": {"trim": 0.5},
    "strikes": {"strikes": 0},
    "quarantine_rounds": {"quarantine_rounds": 0},
}


@pytest.mark.parametrize(("key", "values"), WRONG.items(), ids=list(WRONG))
def test_a_setting_that_makes_no_sense_is_named(
    key: str, values: dict[str, float]
) -> None:
    with pytest.raises(ConfigError, match=f"^{key} is from"):
        GuardSection(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", sorted(DENSE_ONLY))
@pytest.mark.parametrize("codec", ["uq", "uq:1"])
def test_modes_that_look_at_every_parameter_refuse_sparse_codecs(
    mode: GuardMode, codec: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        GuardSection(mode=mode).check_codec(codec)
    assert 'uplink = "int8"' in refused.value.remedy
    GuardSection(mode=mode).check_codec("int8")


def test_medians_of_sparse_updates_are_why() -> None:
    rng = np.random.default_rng(0)
    rows: list[Vector] = [
        (rng.standard_t(3, 1000) / 100 + 0.002).astype(np.float32) for _ in range(9)
    ]
    dense = guarded(rows, "median", codec="int8").mean
    lossy = codec_named("uq:4")
    coded = [lossy.decode(lossy.encode(row), 1000) for row in rows]
    sparse = guarded(coded, "median").mean
    assert norm(sparse) < norm(dense) / 4
