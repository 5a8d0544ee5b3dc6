"""Migrations: what older servers left is what the newest one goes on with."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from broker_server.artifact import load_artifact
from broker_server.guard import guarded_mean
from broker_server.model_line import ModelLine
from broker_server.records import Pending
from broker_server.schema import MIGRATIONS
from broker_server.store import Store
from broker_server.stored_cohort import Contribution
from tools.merge_memory import config_in, fill
from wire_protocol.errors import Reason

ROUND = (
    "INSERT INTO rounds (round, version, outcome, merged_version, started, cohort,"
    " refused) VALUES (?, 0, ?, ?, 1.0, '[\"a\", \"b\"]', '{}')"
)
UPDATE = (
    "INSERT INTO updates VALUES (?, ?, ?, ?, 'litert 2', 10, 3, 0.5, 0.25, 100, 200,"
    " NULL, ?)"
)


def write_old(
    folder: Path, *, schema: int, rows: Sequence[tuple[str, tuple[object, ...]]]
) -> None:
    """Write a database as the server with this schema did."""
    db = sqlite3.connect(folder / "server.sqlite")
    for statements in MIGRATIONS[:schema]:
        for statement in statements:
            db.execute(statement)
    for version in (0, 1):
        db.execute(
            "INSERT INTO versions VALUES (?, ?, NULL, NULL, NULL, 0)",
            (version, f"{version}" * 64),
        )
    for sql, values in rows:
        db.execute(sql, values)
    db.execute(f"PRAGMA user_version = {schema}")
    db.commit()
    db.close()


@pytest.mark.parametrize("schema", [1, 2])
def test_what_an_older_server_merged_failed_and_left_open_is_kept(
    tmp_path: Path, schema: int
) -> None:
    write_old(
        tmp_path,
        schema=schema,
        rows=[
            (ROUND, (1, "failed", None)),
            (UPDATE, (1, "a", "t1", "round_failed", None)),
            (ROUND, (2, "merged", 1)),
            (UPDATE, (2, "b", "t2", "accepted", None)),
            (ROUND, (3, "open", None)),
            (UPDATE, (3, "a", "t3", "accepted", b"payload")),
        ],
    )
    with Store.open(tmp_path) as store:
        failed, merged, left = store.rounds()
        assert (failed.outcome, failed.cause) == ("failed", None)
        assert (merged.outcome, merged.merged_version) == ("merged", 1)
        assert [one.device for one in merged.participants] == ["b"]
        # Its devices were told that their updates count, so they do.
        assert (left.outcome, left.cause) == ("failed", "stopped")
        assert store.update_log.pending() == (Pending(3, "a", "t3", 0),)
        assert [one.state for one in store.ledger()] == [
            "given up",
            "merged",
            "pending",
        ]
        receipt = store.update_log.receipt("a", "t1")
        assert receipt is not None
        assert receipt.reason is Reason.ROUND_FAILED
        assert store.unfinished() is None
    db = sqlite3.connect(tmp_path / "server.sqlite")
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_a_rebuilt_table_still_refuses_what_makes_no_sense(tmp_path: Path) -> None:
    with Store.open(tmp_path):
        pass
    db = sqlite3.connect(tmp_path / "server.sqlite")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(
            "INSERT INTO rounds (round, version, outcome, started, cohort, refused,"
            " mode, goal, minimum) VALUES (1, 0, 'lost', 1.0, '[]', '{}', 'sync', 1, 1)"
        )
    db.close()


def test_an_update_that_was_accepted_before_norms_were_stored_is_merged(
    tmp_path: Path,
) -> None:
    """Its norm is found when it is merged, and clipped like any other."""
    folder = tmp_path / "served"
    folder.mkdir()
    fill(folder, codec="f32", clients=3, values=50)
    expected = merge_in(folder)
    state = folder / "state"
    db = sqlite3.connect(state / "server.sqlite")
    db.execute("UPDATE updates SET norm = NULL")
    db.commit()
    db.close()
    assert merge_in(folder) == expected


def merge_in(folder: Path) -> bytes:
    """Return what a merge of the open round makes, and leave the store as it was."""
    config = config_in(folder)
    with Store.open(config.server.state_dir) as store:
        line = ModelLine(config, load_artifact(folder), store)
        taken = [
            Contribution(one.device, one.file, norm=one.norm)
            for one in store.update_log.payloads(1)
        ]
        size = line.tip.model.params.size
        return guarded_mean(taken, size=size).mean.tobytes()


def test_columns_of_the_guard_come_to_an_older_store(tmp_path: Path) -> None:
    write_old(
        tmp_path,
        schema=2,
        rows=[
            (ROUND, (1, "merged", 1)),
            (UPDATE, (1, "a", "t1", "accepted", None)),
        ],
    )
    with Store.open(tmp_path) as store:
        (record,) = store.rounds()
        assert [one.norm for one in record.participants] == [None]
        assert store.update_log.norms(1, window=5) == []
        assert store.reputations() == ()
