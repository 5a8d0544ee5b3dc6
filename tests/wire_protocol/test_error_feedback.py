"""Nothing learned is lost, and nothing is sent twice, whatever the verdicts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_protocol.codecs import codec_named
from wire_protocol.error_feedback import ErrorFeedback
from wire_protocol.errors import EncodeError
from wire_protocol.params import ParamLayout, ParamSpec, Vector

LAYOUT = ParamLayout((ParamSpec("w", (5, 8)), ParamSpec("b", (8,))))
OTHER = ParamLayout((ParamSpec("w", (3,)),))
UQ = codec_named("uq")
fates = st.lists(
    st.sampled_from(["commit", "fold back", "silence", "commit, then fold back"]),
    min_size=1,
    max_size=12,
)
codecs = st.sampled_from(["uq", "uq:4", "int8", "f32"])


def delta(seed: int) -> Vector:
    return np.random.default_rng(seed).normal(size=LAYOUT.size).astype(np.float32)


def sent(memory: ErrorFeedback, seed: int, round_id: int) -> Vector:
    return UQ.decode(memory.encode(delta(seed), round_id=round_id, codec=UQ), 48)


@given(fates=fates, name=codecs, seed=st.integers(0, 10_000))
def test_accepted_plus_residual_is_all_that_was_learned(
    fates: list[str], name: str, seed: int
) -> None:
    codec = codec_named(name)
    memory = ErrorFeedback(LAYOUT)
    learned = np.zeros(LAYOUT.size)
    accepted = np.zeros(LAYOUT.size)
    for number, fate in enumerate(fates, start=1):
        step = delta(seed + number)
        learned += step
        payload = memory.encode(step, round_id=number, codec=codec)
        if fate.startswith("commit"):
            memory.commit(number)
        if fate == "commit":
            accepted += codec.decode(payload, LAYOUT.size)
        if fate.endswith("fold back"):
            memory.fold_back(number)
    if fates[-1] == "silence":
        memory.fold_back(len(fates))
    np.testing.assert_allclose(accepted + memory.residual, learned, atol=1e-4)


@given(
    echoes=st.lists(
        st.tuples(st.sampled_from(["commit", "fold back"]), st.sampled_from([1, 2, 4]))
    )
)
def test_verdicts_on_other_rounds_change_nothing(echoes: list[tuple[str, int]]) -> None:
    memory = ErrorFeedback(LAYOUT)
    sent(memory, 0, 2)
    memory.commit(2)
    sent(memory, 1, 3)
    before = memory.residual
    for verdict, round_id in echoes:
        (memory.commit if verdict == "commit" else memory.fold_back)(round_id)
    assert memory.residual is before


def test_a_receipt_twice_is_a_receipt_once() -> None:
    memory = ErrorFeedback(LAYOUT)
    decoded = sent(memory, 0, 1)
    memory.commit(1)
    memory.commit(1)
    np.testing.assert_allclose(memory.residual, delta(0) - decoded, atol=1e-6)


def test_a_refusal_after_the_receipt_brings_the_whole_update_back() -> None:
    memory = ErrorFeedback(LAYOUT)
    sent(memory, 0, 1)
    memory.commit(1)
    old = memory.residual
    sent(memory, 1, 2)
    memory.commit(2)
    memory.fold_back(2)
    memory.fold_back(2)
    memory.commit(2)
    np.testing.assert_array_equal(memory.residual, delta(1) + old)


def test_the_residual_waits_for_the_verdict() -> None:
    memory = ErrorFeedback(LAYOUT)
    sent(memory, 0, 1)
    assert not memory.residual.any()


def test_the_same_round_encoded_again_replaces_its_update() -> None:
    memory = ErrorFeedback(LAYOUT)
    sent(memory, 0, 1)
    decoded = sent(memory, 1, 1)
    memory.commit(1)
    np.testing.assert_allclose(memory.residual, delta(1) - decoded, atol=1e-6)


def test_another_layout_starts_from_zero_and_the_same_does_not() -> None:
    memory = ErrorFeedback(LAYOUT)
    sent(memory, 0, 1)
    memory.commit(1)
    memory.follow(LAYOUT)
    assert memory.residual.any()
    memory.follow(OTHER)
    assert memory.residual.tolist() == [0, 0, 0]
    memory.commit(1)
    assert memory.residual.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "bad",
    [np.full(48, np.nan, np.float32), np.zeros(3, np.float32)],
    ids=["NaN", "size"],
)
def test_a_delta_that_cannot_be_sent_leaves_no_trace(bad: Vector) -> None:
    memory = ErrorFeedback(LAYOUT)
    sent(memory, 0, 1)
    memory.commit(1)
    before = memory.residual
    with pytest.raises(EncodeError):
        memory.encode(bad, round_id=2, codec=UQ)
    memory.commit(2)
    assert memory.residual is before


def test_a_stored_residual_is_taken_up_if_it_fits() -> None:
    stored = delta(0)
    assert ErrorFeedback(LAYOUT, residual=stored).residual.tolist() == stored.tolist()
    assert not ErrorFeedback(OTHER, residual=stored).residual.any()
