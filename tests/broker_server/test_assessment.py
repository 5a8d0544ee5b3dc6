"""What a merge sees of updates, and that nothing usual is a fault."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.assessment import AGAINST, Assessment, Fault
from broker_server.guard import guarded_mean
from broker_server.stored_cohort import Contribution
from tools.merge_memory import update_frame
from wire_protocol.params import Vector

SIZE = 400
RNG = np.random.default_rng(3)
COMMON = RNG.normal(size=SIZE).astype(np.float32)
LAST_STEP = RNG.normal(size=SIZE).astype(np.float32)
HONEST = [
    (COMMON + 3 * RNG.normal(size=SIZE)).astype(np.float32) * np.float32(scale)
    for scale in (0.3, 0.7, 1.0, 1.5, 3.0)
]


def seen(*rows: Vector) -> list[Assessment]:
    """Return what is seen of honest devices h0, h1, ..., then of x0, x1, ..."""
    contributions = [
        Contribution(name, update_frame(row, codec="f32", examples=10))
        for name, row in (
            *((f"h{number}", row) for number, row in enumerate(HONEST)),
            *((f"x{number}", row) for number, row in enumerate(rows)),
        )
    ]
    merged = guarded_mean(contributions, size=SIZE, last_step=LAST_STEP)
    return list(merged.assessments)


MEAN: Vector = np.mean(HONEST, axis=0, dtype=np.float32)
SOMETHING = RNG.normal(size=SIZE).astype(np.float32)
FAULTY: dict[str, tuple[Fault, list[Vector]]] = {
    "far too long": (Fault.TOO_LONG, [np.float32(1000) * COMMON]),
    "nothing": (Fault.NOTHING, [np.zeros(SIZE, np.float32)]),
    "hardly anything": (Fault.NOTHING, [np.float32(1e-6) * COMMON]),
    "against all": (Fault.AGAINST, [np.float32(-4) * MEAN]),
    "the last step": (Fault.REPEATED, [LAST_STEP + np.float32(0.1) * SOMETHING]),
    "twice the same": (Fault.COPIED, [SOMETHING, SOMETHING]),
}


@pytest.mark.parametrize(("fault", "rows"), FAULTY.values(), ids=list(FAULTY))
def test_an_update_with_a_fault_is_told_from_the_honest_ones(
    fault: Fault, rows: list[Vector]
) -> None:
    assessments = seen(*rows)
    faults = [one.fault for one in assessments]
    assert faults == [None] * len(HONEST) + [fault] * len(rows)


def test_nothing_is_said_of_too_few_devices() -> None:
    rows = [np.ones(SIZE, np.float32), np.full(SIZE, -1e9, np.float32)]
    merged = guarded_mean(
        [
            Contribution(f"d{number}", update_frame(row, codec="f32", examples=10))
            for number, row in enumerate(rows)
        ],
        size=SIZE,
    )
    assert [one.fault for one in merged.assessments] == [None, None]
    assert [one.compared for one in merged.assessments] == [2, 2]


def test_two_updates_of_one_device_are_no_copies() -> None:
    contributions = [
        Contribution(device, update_frame(row, codec="f32", examples=10))
        for device, row in (
            ("a", SOMETHING),
            ("a", SOMETHING),
            ("b", HONEST[0]),
            ("c", HONEST[1]),
        )
    ]
    merged = guarded_mean(contributions, size=SIZE)
    assert not any(one.copied for one in merged.assessments)


@given(st.floats(0.01, 9.0), st.floats(-0.19, 0.99))
def test_what_is_merely_unusual_is_no_fault(length: float, agreement: float) -> None:
    usual = Assessment("a", length, agreement, 0.5, copied=False, compared=5)
    assert usual.fault is None


def test_who_is_against_a_merge_that_a_few_have_taken_is_not_at_fault() -> None:
    """Two of seven claim a billion examples; under the cap they outweigh the others."""
    contributions = [
        Contribution(f"d{number}", update_frame(row, codec="f32", examples=examples))
        for number, (row, examples) in enumerate(
            [
                *((row, 10) for row in HONEST),
                *((np.float32(-s) * MEAN, 10**9) for s in (8, 9)),
            ]
        )
    ]
    merged = guarded_mean(contributions, size=SIZE)
    honest = merged.assessments[: len(HONEST)]
    assert min(one.agreement for one in honest) < AGAINST
    assert [one.fault for one in honest] == [None] * len(HONEST)
