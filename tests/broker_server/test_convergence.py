"""Convergence: what counts as a gain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.convergence import Progress, has_converged, observe

CASES = {
    "falling loss": ([1.0, 0.8, 0.6, 0.4], 0),
    "flat loss": ([1.0, 1.0, 1.0, 1.0], 3),
    "gains under the tolerance": ([1.0, 0.995, 0.992], 2),
    "small gains that add up": ([1.0, 0.995, 0.98], 0),
    "a gain after a pause": ([1.0, 1.0, 0.5], 0),
    "rounds nobody judged": ([1.0, None, None], 0),
}


@pytest.mark.parametrize(("losses", "stale"), CASES.values(), ids=list(CASES))
def test_rounds_without_a_gain_are_counted(
    losses: list[float | None], stale: int
) -> None:
    progress = Progress()
    for loss in losses:
        progress = observe(progress, loss, tolerance=0.01)
    assert progress.stale_rounds == stale
    assert has_converged(progress, patience=3) is (stale >= 3)


@given(st.lists(st.floats(0, 100), max_size=20))
def test_without_patience_learning_never_ends(losses: list[float]) -> None:
    progress = Progress()
    for loss in losses:
        progress = observe(progress, loss, tolerance=0.0)
    assert not has_converged(progress, patience=0)
