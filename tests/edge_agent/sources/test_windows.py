"""Windows: whole, in order, a hop apart, and never across a gap."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources.windows import Windows

ROWS = st.lists(st.booleans(), max_size=80)


def cut(
    given_rows: list[bool], *, length: int, hop: int, ahead: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Return the windows made of numbered rows, False being a gap, and their labels."""
    windows = Windows(channels=1, length=length, hop=hop, ahead=ahead)
    made, labels = [], []
    for number, there in enumerate(given_rows):
        window = windows.push((float(number),) if there else None, number)
        if window is not None:
            made.append(window.rows[:, 0].astype(int).tolist())
            labels.append([label for label in window.labels if label is not None])
    return made, labels


@given(
    rows=ROWS,
    length=st.integers(1, 6),
    hop=st.integers(1, 9),
    ahead=st.integers(0, 3),
)
def test_windows_are_those_of_every_stretch_without_a_gap(
    rows: list[bool], length: int, hop: int, ahead: int
) -> None:
    expected = []
    begin = 0
    for end in range(len(rows) + 1):
        if end == len(rows) or not rows[end]:
            starts = range(begin, end - length - ahead + 1, hop)
            expected += [list(range(at, at + length + ahead)) for at in starts]
            begin = end + 1
    made, labels = cut(rows, length=length, hop=hop, ahead=ahead)
    assert made == expected
    assert labels == [window[:length] for window in expected]


def test_a_window_stays_as_it_was_made() -> None:
    windows = Windows(channels=2, length=2, hop=1)
    windows.push((1.0, 2.0), None)
    made = windows.push((3.0, 4.0), None)
    windows.push((5.0, 6.0), None)
    assert made is not None
    np.testing.assert_array_equal(made.rows, [[1, 2], [3, 4]])
