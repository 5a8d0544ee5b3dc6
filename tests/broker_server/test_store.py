"""The store: what was committed is there, what was not is not."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from broker_server.blob_folder import BlobFolder
from broker_server.global_model import GlobalModel, advance, first_model
from broker_server.records import Participant, Pending, Update
from broker_server.registry import MAX_DEVICES
from broker_server.schema import MIGRATIONS
from broker_server.server_optimizers import fedavgm
from broker_server.store import Identity, Store
from broker_server.version_log import KEPT_VERSIONS, KEYFRAME_EVERY
from tests.broker_server.small_server import LAYOUT
from wire_protocol.errors import ConfigError, Reason, RefusedError
from wire_protocol.messages import CheckIn, Evaluation, UpdateReceipt
from wire_protocol.params import Vector

OPTIMIZER = fedavgm(beta=0.5, learning_rate=1.0)


def participant(
    device: str, *, examples: int = 10, number: int = 1, version: int = 0
) -> Participant:
    return Participant(
        round=number,
        version=version,
        device=device,
        transfer=f"{number:015x}{device}",
        runtime="litert 2",
        num_examples=examples,
        steps=3,
        loss=0.5,
        train_s=0.25,
        bytes_up=100,
        bytes_down=200,
        evaluation=Evaluation(4, 2.0, 3.0),
    )


def pending(one: Participant) -> Pending:
    return Pending(one.round, one.device, one.transfer, one.version)


def grow(store: Store, model: GlobalModel, *, number: int) -> GlobalModel:
    """Hold one round and merge it."""
    rng = np.random.default_rng(number)
    mean = rng.normal(0, 0.01, LAYOUT.size).astype(np.float32)
    with store.together():
        store.open_round(number, version=model.version, cohort=("a", "b"), started=1.0)
        one = participant("a", number=number, version=model.version)
        store.keep_update(Update(one, b"update"))
        return merge(store, model, number=number, mean=mean)


def merge(
    store: Store, model: GlobalModel, *, number: int, mean: Vector
) -> GlobalModel:
    """Merge what is pending as round ``number``."""
    store.begin_merge(number, store.update_log.pending())
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
    store.keep_update(Update(participant("b", examples=30), b"2"))
    store.keep_update(Update(participant("a"), b"1"))
    store.keep_update(Update(participant("a", examples=99), b"again"))
    store.begin_merge(1, store.update_log.pending())
    taken = [(one.file.read(9), one.version) for one in store.update_log.payloads(1)]
    assert taken == [(b"1", 0), (b"2", 0)]
    mean = np.zeros(LAYOUT.size, np.float32)
    grown, delta = advance(model, mean, optimizer=OPTIMIZER, codec="uq:1")
    prepared = store.version_log.prepare(grown, delta)
    store.commit_merge(1, prepared, ended=9.0, seconds=1.25, refused={"not_finite": 2})
    (record,) = store.rounds()
    assert record.participants == (participant("a"), participant("b", examples=30))
    assert (record.outcome, record.version, record.merged_version) == ("merged", 0, 1)
    assert (record.bytes_up, record.bytes_down) == (200, 400)
    assert (record.metric, record.evaluation_loss, record.loss) == (0.75, 0.5, 0.5)
    assert (record.max_train_s, record.overhead_seconds) == (0.25, 1.0)
    assert record.refused == {"not_finite": 2}
    assert record.cohort == ("a", "b", "c")


def test_a_failed_rounds_updates_are_merged_by_a_later_one(
    store: Store, tmp_path: Path
) -> None:
    model = begin(store)
    first, slow = participant("a"), participant("c")
    store.open_round(1, version=0, cohort=("a", "c"), started=1.0)
    store.keep_update(Update(first, b"first"))
    store.commit_failure(1, cause="deadline", ended=2.0, seconds=1.0, refused={})
    model = grow(store, model, number=2)
    store.keep_update(Update(slow, b"slow"))
    assert store.update_log.pending() == (pending(slow),)
    grow(store, model, number=3)
    assert [(one.outcome, one.carried, one.late) for one in store.rounds()] == [
        ("failed", 0, 0),
        ("merged", 1, 0),
        ("merged", 0, 1),
    ]
    assert [(one.device, one.base, one.merged_version) for one in store.ledger()] == [
        ("a", 0, 1),
        ("c", 0, 2),
        ("a", 0, 1),
        ("a", 1, 2),
    ]
    with sqlite3.connect(tmp_path / "server.sqlite") as db:
        assert db.execute("SELECT count(*) FROM payloads").fetchone() == (0,)
    db.close()


def test_a_merge_that_is_not_finite_gives_up_what_it_took_and_nothing_else(
    store: Store,
) -> None:
    begin(store)
    store.open_round(1, version=0, cohort=("a", "b"), started=1.0)
    store.keep_update(Update(participant("a"), b"infinite"))
    store.begin_merge(1, store.update_log.pending())
    store.keep_update(Update(participant("b"), b"late"))
    store.commit_failure(1, cause="merge", ended=2.0, seconds=1.0, refused={})
    given_up, kept = store.ledger()
    assert (given_up.state, given_up.reason) == ("given up", Reason.ROUND_FAILED)
    assert kept.state == "pending"
    assert [one.device for one in store.rounds()[0].participants] == ["a"]
    transfer = participant("a").transfer
    assert store.update_log.receipt("a", transfer) == UpdateReceipt(
        1, transfer, Reason.ROUND_FAILED
    )


def test_receipts_are_known_hundreds_of_rounds_later(store: Store) -> None:
    begin(store)
    with store.together():
        for number in range(1, 301):
            store.open_round(number, version=0, cohort=("a",), started=1.0)
            store.keep_update(Update(participant("a", number=number), b"update"))
    transfer = participant("a").transfer
    receipt = UpdateReceipt(1, transfer, Reason.ACCEPTED)
    assert store.update_log.receipt("a", transfer) == receipt
    assert store.update_log.receipt("b", transfer) is None
    last = store.update_log.last_receipt("a")
    assert last is not None
    assert last.round == 300
    assert store.update_log.transfer(1, "a") == transfer


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
from broker_server.records import Update
from broker_server.store import Store
from tests.broker_server.test_store import begin, participant
store = Store.open(Path(sys.argv[1]))
begin(store)
store.open_round(1, version=0, cohort=("a", "b"), started=1.0)
store.keep_update(Update(participant("a"), b"kept"))
with store.together():
    store.keep_update(Update(participant("b"), b"not yet committed"))
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
        assert store.update_log.pending() == (pending(participant("a")),)
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


def test_the_norms_of_the_last_merges_are_found_again(store: Store) -> None:
    model = begin(store)
    for number in (1, 2, 3):
        store.open_round(number, version=number - 1, cohort=("a", "b"), started=5.0)
        for device in ("b", "a"):
            one = replace(participant(device), round=number, version=number - 1)
            norm = number + 0.5 if device == "a" else None
            store.keep_update(Update(replace(one, norm=norm), b"1"))
        store.begin_merge(number, store.update_log.pending())
        mean = np.zeros(LAYOUT.size, np.float32)
        model, delta = advance(model, mean, optimizer=OPTIMIZER, codec="uq:1")
        prepared = store.version_log.prepare(model, delta)
        store.commit_merge(number, prepared, ended=9.0, seconds=1.0, refused={})
    assert store.update_log.norms(3, window=2) == [("a", 2.5), ("a", 3.5)]
    assert store.update_log.norms(2, window=9) == [("a", 1.5), ("a", 2.5)]
    assert store.update_log.norms(3, window=0) == []
    assert store.newest_round() == 3


def test_the_table_of_devices_is_bounded(tmp_path: Path) -> None:
    check_in = CheckIn(1, "litert 2", "tflite", ("uq",), 120)
    with Store.open(tmp_path / "bounded") as store:
        with store.together():
            for number in range(MAX_DEVICES):
                store.note_device(f"d{number}", check_in, at=1.0)
        store.note_device("one-more", check_in, at=2.0)
        store.note_device("d7", replace(check_in, num_examples=121), at=3.0)
        devices = {one.device: one for one in store.devices()}
    assert len(devices) == MAX_DEVICES
    assert "one-more" not in devices
    assert (devices["d7"].num_examples, devices["d7"].last_seen) == (121, 3.0)
