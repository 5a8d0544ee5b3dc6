"""Where a restarted server goes on: every way in which a round may have been left."""

import time
from pathlib import Path

import pytest

from broker_server.records import OpenRecord, Pending, RoundRecord, Update
from broker_server.recovery import recover
from broker_server.round_states import Collecting, Merging, Waiting
from broker_server.store import Store
from broker_server.tally import Tally
from tests.broker_server.small_server import config_in
from tests.broker_server.test_store import begin, participant

LEFT = OpenRecord(3, 1, ("a", "b"), "buffered", 2, 1, b"offer", started=1.0)
TAKEN = (Pending(2, "c", "t", 1), Pending(3, "a", "t", 1))
LATE = Pending(1, "b", "t", 0)


def record(number: int, outcome: str) -> RoundRecord:
    merged = number if outcome == "merged" else None
    one = participant("a", number=number, version=number - 1)
    return RoundRecord(
        round=number,
        version=number - 1,
        outcome=outcome,  # type: ignore[arg-type]
        merged_version=merged,
        started=0.0,
        ended=1.0,
        seconds=1.0,
        cohort=("a",),
        participants=(one,),
        refused={},
        cause=None,
    )


@pytest.mark.parametrize(
    ("unfinished", "taken", "state"),
    [
        (None, (), Waiting(frozenset({LATE}))),
        (
            LEFT,
            (),
            Collecting(
                *(3, 1, frozenset("ab"), 2, 1, "buffered"),
                pending=frozenset({LATE}),
            ),
        ),
        (
            OpenRecord(3, 1, ("a",), "sync", 1, 1, b"", 1.0, merging=True),
            TAKEN,
            Merging(3, 1, TAKEN, frozenset({LATE})),
        ),
    ],
    ids=["between rounds", "collecting", "merging"],
)
def test_the_round_is_as_it_was_left(
    unfinished: OpenRecord | None, taken: tuple[Pending, ...], state: object
) -> None:
    found = recover(
        [record(1, "merged"), record(2, "failed")],
        unfinished=unfinished,
        pending=[LATE],
        taken=taken,
        tolerance=0.0,
    )
    assert found.state == state
    assert (found.number, found.last_merged) == (2, record(1, "merged"))


def test_the_tally_of_a_restarted_server_is_that_of_one_that_never_ended(
    tmp_path: Path,
) -> None:
    records = [record(number, "merged") for number in (1, 2, 3)]
    config = config_in(tmp_path)
    whole, restarted = Tally(config), Tally(config)
    for one in records:
        whole.merged(one)
    tolerance = config.convergence.tolerance
    restarted.resume(
        recover(records, unfinished=None, pending=(), taken=(), tolerance=tolerance)
    )
    assert restarted.last_merged == whole.last_merged
    assert restarted.ending(3) == whole.ending(3) == ""


def test_two_thousand_rounds_are_read_in_a_moment(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        begin(store)
        with store.together():
            for number in range(1, 2001):
                store.open_round(number, version=0, cohort=("a",), started=1.0)
                store.keep_update(Update(participant("a", number=number), b"x"))
                store.commit_failure(
                    number, cause="deadline", ended=2.0, seconds=1.0, refused={}
                )
        began = time.perf_counter()
        assert len(store.rounds()) == len(store.update_log.pending()) == 2000
        assert time.perf_counter() - began < 1.0
