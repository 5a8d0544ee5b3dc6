"""Pooled sums say what all examples in one place would have said."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_protocol.errors import DecodeError
from wire_protocol.feature_statistics import (
    MAX_CHANNELS,
    FeatureStatistics,
    channels_of,
    feature_statistics,
    moments,
    standardized,
)
from wire_protocol.params import ParamLayout, ParamSpec

LAYOUT = ParamLayout(
    (
        ParamSpec("m", (2,), "feature_mean", trainable=False),
        ParamSpec("s", (2,), "feature_scale", trainable=False),
        ParamSpec("w", (2, 2), "uniform", 0.5),
    )
)


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    centre=st.floats(-1e4, 1e4),
    spread=st.floats(0.5, 100),
    seed=st.integers(0, 99),
)
def test_many_devices_tell_what_one_would(
    sizes: Sequence[int], centre: float, spread: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    parts = [
        rng.normal(centre, spread, (size, 3, 2)).astype(np.float32) for size in sizes
    ]
    told = [feature_statistics(part) for part in parts]
    mean, deviation = moments([one for one in told if one])
    rows = np.concatenate([part.reshape(-1, 2) for part in parts]).astype(np.float64)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(deviation, rows.std(0), rtol=1e-4, atol=1e-4)
    params = standardized(
        np.zeros(LAYOUT.size, np.float32), LAYOUT, parts=[one for one in told if one]
    )
    m, s, w = LAYOUT.split(params)
    scaled = (rows - m) * s
    assert abs(scaled.mean(0)).max() < 0.05
    assert not w.any()


def test_what_never_changes_is_not_blown_up() -> None:
    told = feature_statistics(np.full((50, 4, 2), (1013.25, 0.0), np.float32))
    assert told is not None
    params = standardized(np.zeros(LAYOUT.size, np.float32), LAYOUT, parts=[told])
    assert params[2:4].tolist() == [1.0, 1.0]


def test_only_a_sane_number_of_channels_is_told() -> None:
    assert feature_statistics(np.zeros((2, MAX_CHANNELS + 1), np.float32)) is None
    assert feature_statistics(np.zeros((0, 2), np.float32)) is None
    assert channels_of(LAYOUT) == 2


@pytest.mark.parametrize(
    "bad",
    [
        lambda: FeatureStatistics(3, (9.0,), (1.0,)),
        lambda: FeatureStatistics(3, (), ()),
        lambda: FeatureStatistics(3, (1.0,), (1.0, 2.0)),
        lambda: moments([]),
        lambda: moments(
            [
                FeatureStatistics(1, (1.0,), (1.0,)),
                FeatureStatistics(1, (1.0, 1.0), (1.0, 1.0)),
            ]
        ),
        lambda: standardized(
            np.zeros(LAYOUT.size, np.float32),
            LAYOUT,
            parts=[FeatureStatistics(1, (1.0,), (1.0,))],
        ),
    ],
    ids=["impossible", "empty", "uneven", "none", "mixed", "misfit"],
)
def test_what_cannot_be_is_refused(bad: object) -> None:
    with pytest.raises(DecodeError):
        bad()  # type: ignore[operator]
