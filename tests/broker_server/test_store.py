"""The store: what was committed is there, what was not is not."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from broker_server.blob_folder import BlobFolder
from broker_server.global_model import GlobalModel, advance, first_model
from broker_server.records import Participant
from broker_server.schema import MIGRATIONS
from broker_server.server_optimizers import fedavgm
from broker_server.store import Identity, Store
from broker_server.version_log import KEPT_VERSIONS, KEYFRAME_EVERY
from tests.broker_server.small_server import LAYOUT
from wire_protocol.errors import ConfigError, RefusedError
from wire_protocol.messages import CheckIn, Evaluation

OPTIMIZER = fedavgm(beta=0.5, learning_rate=1.0)


def participant(device: str, *, examples: int = 10) -> Participant:
    return Participant(
        device=device,
        transfer="0" * 16,
        runtime="litert 2",
        num_examples=examples,
        steps=3,
        loss=0.5,
        train_s=0.25,
        bytes_up=100,
        bytes_down=200,
        evaluation=Evaluation(4, 2.0, 3.0),
    )


def grow(store: Store, model: GlobalModel, *, number: int) -> GlobalModel:
    """Hold one round and merge it."""
    rng = np.random.default_rng(number)
    mean = rng.normal(0, 0.01, LAYOUT.size).astype(np.float32)
    store.open_round(number, version=model.version, cohort=("a", "b"), started=1.0)
    store.keep_update(number, participant("a"), payload=b"update")
    grown, delta = advance(model, mean, optimizer=OPTIMIZER, codec="uq:1")
    prepared = store.version_log.prepare(grown, delta)
    store.commit_merge(number, prepared, ended=2.0, seconds=1.0, refused={})
    return grown


def begin(store: Store) -> GlobalModel:
    model = first_model(LAYOUT, OPTIMIZER, seed=1)
    store.commit_first(store.version_log.prepare(model, None))
    return model


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def test_every_version_can_be_rebuilt_by_an_observer(
    store: Store, tmp_path: Path
) -> None:
    models = [begin(store)]
    for number in range(1, KEYFRAME_EVERY + 4):
        models.append(grow(store, models[-1], number=number))
    with Store.open(tmp_path, readonly=True) as observer:
        for model in models:
            assert np.array_equal(observer.params(model.version), model.held)
        assert [one.version for one in observer.versions()] == list(range(len(models)))
        assert observer.rebuildable() == tuple(range(len(models)))
        with pytest.raises(RefusedError, match="not in the store") as caught:
            observer.params(len(models))
        assert f"0 to {len(models) - 1}" in caught.value.remedy


def test_the_newest_version_comes_back_whole(store: Store) -> None:
    model = begin(store)
    for number in (1, 2, 3):
        model = grow(store, model, number=number)
    latest = store.version_log.latest()
    assert latest is not None
    restored, deltas = latest
    assert restored.version == 3
    for name in ("params", "held", "momentum"):
        assert np.array_equal(getattr(restored, name), getattr(model, name))
    assert [delta.version for delta in deltas] == [1, 2, 3]


def test_old_versions_are_pruned_and_their_files_removed(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        model = begin(store)
        last = KEPT_VERSIONS + KEYFRAME_EVERY + 1
        for number in range(1, last + 1):
            model = grow(store, model, number=number)
        with pytest.raises(RefusedError):
            store.params(1)
        store.params(last - KEPT_VERSIONS)
        store.params(0)  # a keyframe stays
        assert store.rebuildable() == (0, *range(KEYFRAME_EVERY, last + 1))
        for version in store.rebuildable():
            store.params(version)
        kept = last - KEYFRAME_EVERY + 1  # deltas
        keyframes = last // KEYFRAME_EVERY + 1
        assert len(list((tmp_path / "blobs").iterdir())) <= kept + keyframes + 1


def test_a_round_is_recorded_with_everybody_who_took_part(store: Store) -> None:
    model = begin(store)
    store.open_round(1, version=0, cohort=("a", "b", "c"), started=5.0)
    store.keep_update(1, participant("b", examples=30), payload=b"2")
    store.keep_update(1, participant("a"), payload=b"1")
    store.keep_update(1, participant("a", examples=99), payload=b"again")
    assert [file.read(9) for file in store.payloads(1)] == [b"1", b"2"]
    mean = np.zeros(LAYOUT.size, np.float32)
    grown, delta = advance(model, mean, optimizer=OPTIMIZER, codec="uq:1")
    prepared = store.version_log.prepare(grown, delta)
    store.commit_merge(1, prepared, ended=9.0, seconds=1.25, refused={"not_finite": 2})
    (record,) = store.rounds()
    assert record.participants == (participant("a"), participant("b", examples=30))
    assert (record.outcome, record.version, record.merged_version) == ("merged", 0, 1)
    assert (record.bytes_up, record.bytes_down) == (200, 400)
    assert (record.accuracy, record.evaluation_loss, record.loss) == (0.75, 0.5, 0.5)
    assert (record.max_train_s, record.overhead_seconds) == (0.25, 1.0)
    assert record.refused == {"not_finite": 2}
    assert record.cohort == ("a", "b", "c")


def test_updates_are_erased_when_their_round_closes(
    store: Store, tmp_path: Path
) -> None:
    grow(store, begin(store), number=1)
    store.open_round(2, version=1, cohort=("a",), started=1.0)
    store.keep_update(2, participant("a"), payload=b"update")
    store.commit_failure(2, cause="deadline", ended=2.0, seconds=1.0, refused={})
    with sqlite3.connect(tmp_path / "server.sqlite") as db:
        rows = db.execute("SELECT reason, payload FROM updates").fetchall()
    db.close()
    assert rows == [("accepted", None), ("round_failed", None)]
    assert [record.cause for record in store.rounds()] == [None, "deadline"]


def test_a_merge_that_breaks_half_way_leaves_nothing_of_itself(store: Store) -> None:
    model = grow(store, begin(store), number=1)
    store.open_round(2, version=1, cohort=("a",), started=1.0)
    grown, delta = advance(
        model, np.ones(LAYOUT.size, np.float32), optimizer=OPTIMIZER, codec="uq:1"
    )
    prepared = store.version_log.prepare(grown, delta)
    with pytest.raises(TypeError):  # cannot be written as JSON, after the version row
        store.commit_merge(
            2,
            prepared,
            ended=1.0,
            seconds=1.0,
            refused={"x": object()},  # type: ignore[dict-item]
        )
    assert [one.version for one in store.versions()] == [0, 1]
    assert store.rounds()[-1].outcome == "open"
    assert np.array_equal(store.params(1), model.held)
    latest = store.version_log.latest()
    assert latest is not None
    assert latest[0].version == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from broker_server.store import Store
from tests.broker_server.test_store import begin, participant
store = Store.open(Path(sys.argv[1]))
begin(store)
store.open_round(1, version=0, cohort=("a", "b"), started=1.0)
store.keep_update(1, participant("a"), payload=b"kept")
with store.together():
    store.keep_update(1, participant("b"), payload=b"not yet committed")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_kept_survives_a_kill_and_what_was_not_is_gone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == -signal.SIGKILL
    with Store.open(tmp_path) as store:  # the lock died with its holder
        assert [file.read(9) for file in store.payloads(1)] == [b"kept"]
        assert [one.device for one in store.rounds()[0].participants] == ["a"]
        assert store.params(0).size == LAYOUT.size


def test_migrations_are_applied_once_and_a_newer_schema_is_refused(
    tmp_path: Path,
) -> None:
    for _ in range(2):
        with Store.open(tmp_path):
            pass
    db = sqlite3.connect(tmp_path / "server.sqlite")
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    for readonly in (False, True):
        with pytest.raises(RefusedError, match="schema"):
            Store.open(tmp_path, readonly=readonly)


def test_a_failed_round_of_the_first_schema_has_no_cause(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "server.sqlite")
    for statement in MIGRATIONS[0]:
        db.execute(statement)
    db.execute(
        "INSERT INTO rounds (round, version, outcome, started, cohort, refused)"
        " VALUES (1, 0, 'failed', 1.0, '[]', '{}')"
    )
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()
    (tmp_path / "blobs").mkdir()
    with Store.open(tmp_path) as store:
        (record,) = store.rounds()
    assert (record.outcome, record.cause) == ("failed", None)


def test_two_servers_cannot_share_a_folder(store: Store, tmp_path: Path) -> None:
    del store
    with pytest.raises(RefusedError, match="another server"):
        Store.open(tmp_path)


def test_a_folder_belongs_to_one_model(store: Store) -> None:
    store.claim(Identity("home", "tiny", "0" * 16))
    store.claim(Identity("home", "tiny", "0" * 16))
    with pytest.raises(RefusedError, match="belongs to"):
        store.claim(Identity("home", "other", "0" * 16))


def test_an_observer_of_nothing_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no server's state"):
        Store.open(tmp_path, readonly=True)


@pytest.mark.parametrize("content", [b"", b"no database" * 100], ids=["empty", "junk"])
def test_a_damaged_database_is_refused_or_made_anew(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "server.sqlite").write_bytes(content)
    if content:
        with pytest.raises(RefusedError):
            Store.open(tmp_path)
    else:
        with Store.open(tmp_path) as store:
            assert store.rounds() == []


def test_a_damaged_blob_is_refused(store: Store, tmp_path: Path) -> None:
    grow(store, begin(store), number=1)
    for path in (tmp_path / "blobs").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(RefusedError, match="damaged"):
        store.params(1)


def test_a_blob_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be written: No such file") as caught:
        BlobFolder(tmp_path / "gone").put(b"blob")
    assert "state_dir" in caught.value.remedy


def test_devices_are_remembered_as_they_last_checked_in(store: Store) -> None:
    store.note_device("pi", CheckIn(1, "litert 2", "tflite", ("uq",), 10), at=1.0)
    store.note_device("pi", CheckIn(2, "onnxruntime 1", "onnx", ("uq",), 12), at=9.0)
    (device,) = store.devices()
    assert (device.runtime, device.first_seen, device.last_seen) == (
        "onnxruntime 1",
        1.0,
        9.0,
    )
    assert json.dumps(device.num_examples) == "12"
