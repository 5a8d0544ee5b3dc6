"""The log of examples: bounded, durable, and split for ever."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.example_log import FOLDER, TOO_MANY, ExampleLog, Limits
from edge_agent.examples import Snapshot
from edge_agent.holdout import Split
from edge_agent.segment_folder import look_into
from edge_agent.segments import Form
from edge_agent.state_files import StateFiles, StorageError
from tests.edge_agent.power import FullDisk
from wire_protocol.atomic_file import append_durably, write_atomically
from wire_protocol.errors import ConfigError

FORM = Form((2,), "classes", 1, "r")
FREE = Limits(examples=40, mib=1, waiting=8, mib_a_day=1e6)

SPLIT = Split(0.25, seed=3)


def opened(
    folder: Path,
    *,
    form: Form | None = FORM,
    limits: Limits = FREE,
    split: Split = SPLIT,
    files: StateFiles | None = None,
    **options: object,
) -> ExampleLog:
    return ExampleLog(
        files or StateFiles(folder),
        form=form, limits=limits, split=split, **options,  # type: ignore[arg-type]
    )  # fmt: skip


def put(log: ExampleLog, first: int, count: int) -> None:
    """Append examples whose values name them."""
    for number in range(first, first + count):
        x = np.array([number, -number], np.float32)
        assert log.append(x, np.array(number % 5, np.int32)) == ""


def names(snapshot: Snapshot) -> tuple[list[int], list[int]]:
    """Return which examples train and which are held out."""
    for part in (snapshot.training, snapshot.holdout):
        assert (part.x[:, 1] == -part.x[:, 0]).all()
        assert (part.y == part.x[:, 0] % 5).all()
    parts = snapshot.training, snapshot.holdout
    return parts[0].x[:, 0].astype(int).tolist(), parts[1].x[:, 0].astype(int).tolist()


def both(sides: tuple[list[int], list[int]]) -> list[int]:
    return sides[0] + sides[1]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 30)),
        st.just(("flush", 0)),
        st.just(("restart", 0)),
        st.tuples(st.just("tear"), st.integers(1, 30)),
    ),
    max_size=12,
)


@given(steps=STEPS, most=st.integers(1, 60))
@settings(max_examples=60)
def test_a_log_is_the_newest_of_what_was_flushed(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], most: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    limits = Limits(examples=most, mib=1, waiting=1000, mib_a_day=1e6)
    log = opened(folder, limits=limits)
    durable = waiting = 0
    torn_ever = False  # what was torn off is not made up for
    for step, count in steps:
        if step == "append":
            put(log, durable + waiting, count)
            waiting += count
        elif step == "flush":
            assert log.flush() == waiting
            durable, waiting = durable + waiting, 0
        elif step == "restart":
            log, waiting = opened(folder, limits=limits), 0
        elif durable and (found := look_into(folder / FOLDER).segments):
            # the power goes while the last segment grows
            last = found[-1]
            torn_ever = True
            torn = min(count, 12 * last.count + 40)
            with last.path.open("r+b") as file:
                file.truncate(last.path.stat().st_size - torn)
            lost = min(last.count, -(-torn // last.form.record_bytes))
            durable, waiting = durable - lost, 0
            log = opened(folder, limits=limits)
            if lost == last.count and len(found) == 1:
                durable = 0  # nothing is left to number from
        assert log.waiting == waiting
        training, holdout = sides = names(log.snapshot())
        durable, waiting = durable + waiting, 0
        kept = sorted(both(sides))
        assert len(training) == log.count
        assert kept == list(range(durable - len(kept), durable))
        assert len(kept) <= max(most, 1)
        assert torn_ever or len(kept) >= min(durable, most - max(1, most // 8))
        held = opened(folder, limits=limits)._split.held(np.array(kept, np.int64))
        assert sorted(holdout) == [n for n, out in zip(kept, held, strict=True) if out]


@given(
    fraction=st.floats(0, 0.9),
    seed=st.integers(0, 1 << 70),
    run=st.integers(1, 9),
    numbers=st.lists(st.integers(0, 1 << 50), max_size=50),
)
def test_a_split_depends_on_nothing_but_the_number(
    fraction: float, seed: int, run: int, numbers: list[int]
) -> None:
    split = Split(fraction, seed=seed, run=run)
    together = split.held(np.array(numbers, np.int64))
    alone = [bool(split.held(np.array([number]))[0]) for number in numbers]
    assert together.tolist() == alone
    starts = np.array([number - number % run for number in numbers], np.int64)
    assert split.held(starts).tolist() == alone


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5])
def test_a_split_holds_out_about_its_fraction(fraction: float) -> None:
    for seed in range(5):
        held = Split(fraction, seed=seed).held(np.arange(20_000))
        assert abs(held.mean() - fraction) < 0.01
    one, other = (Split(0.5, seed=seed).held(np.arange(1000)) for seed in (1, 2))
    assert 300 < (one != other).sum() < 700


def test_a_snapshot_is_found_again_while_its_examples_are_there(tmp_path: Path) -> None:
    log = opened(tmp_path)
    put(log, 0, 20)
    first = log.snapshot()
    put(log, 20, 10)
    log = opened(tmp_path)  # what waited is gone
    put(log, 20, 9)
    again, now = log.snapshot(first.key), log.snapshot()
    assert again.key == first.key
    assert again.training.x.tobytes() == first.training.x.tobytes()
    assert again.holdout.y.tobytes() == first.holdout.y.tobytes()
    assert sum(len(part) for part in names(now)) == 29
    assert now.key != first.key
    put(log, 29, 30)  # and now the oldest are dropped
    assert log.snapshot(first.key).key == log.snapshot().key
    for foreign in ("0-20-0123456789abcdef", "x", "--", "9" * 99, "20-0-0"):
        assert log.snapshot(foreign).key == log.snapshot().key


def test_a_snapshot_stays_as_it_is(tmp_path: Path) -> None:
    log = opened(tmp_path)
    put(log, 0, 30)
    taken = log.snapshot()
    before = names(taken)
    for first in (30, 50, 70):
        put(log, first, 20)
        log.flush()
    assert names(taken) == before
    assert not set(before[0]) & set(names(log.snapshot())[0])


def test_the_caller_may_use_its_array_again(tmp_path: Path) -> None:
    log = opened(tmp_path)
    x = np.zeros(2, np.float32)
    for number in range(5):
        x[:] = number, -number
        log.append(x, np.array(number, np.int32))
    assert sorted(both(names(log.snapshot()))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("at", range(6))
def test_a_full_disk_costs_no_example_and_no_number(tmp_path: Path, at: int) -> None:
    disk = FullDisk(at)

    def append(path: Path, data: bytes, *, at: int) -> None:
        full = disk.at <= len(disk.seen) < disk.at + disk.times
        disk.seen.append(path.name)
        if full:
            append_durably(path, data[: len(data) // 2], at=at)
            raise OSError(28, "No space left on device")
        append_durably(path, data, at=at)

    files = StateFiles(tmp_path, replace_file=disk.replace_file, append_file=append)
    log = opened(tmp_path, files=files)
    failed = 0
    for number in range(0, 12, 2):
        put(log, number, 2)
        try:
            log.flush()
        except StorageError as error:
            failed += "state_dir" in error.remedy
            torn = look_into(tmp_path / FOLDER)  # as a restart would find it
            assert torn.count <= number + 2
    assert failed == 1
    log.flush()
    assert sorted(both(names(log.snapshot()))) == list(range(12))
    assert sorted(both(names(opened(tmp_path).snapshot()))) == list(range(12))


def test_a_disk_that_stays_full_does_not_fill_the_memory(tmp_path: Path) -> None:
    disk = FullDisk(0, times=10_000)
    log = opened(tmp_path, files=StateFiles(tmp_path, replace_file=disk.replace_file))
    put(log, 0, 4 * FREE.waiting)
    with pytest.raises(StorageError):
        log.flush()
    assert log.append(np.zeros(2, np.float32), np.array(0, np.int32)) == TOO_MANY
    assert log.waiting == 4 * FREE.waiting
    assert log.snapshot().training.count == 0
    disk.times = 0
    log.flush()
    assert sorted(both(names(log.snapshot()))) == list(range(4 * FREE.waiting))


def test_what_may_be_written_in_a_day_is_kept_to(tmp_path: Path) -> None:
    now = [0.0]
    files = StateFiles(tmp_path)
    log = opened(
        tmp_path, files=files, clock=lambda: now[0],
        limits=Limits(examples=1 << 20, mib=64, waiting=64, mib_a_day=0.05),
    )  # fmt: skip
    taken = 0
    for _ in range(24 * 12):
        for number in range(30):  # one in ten seconds, for a day
            x = np.full(2, number, np.float32)
            taken += not log.append(x, np.array(0, np.int32))
            now[0] += 10
        log.flush()
    assert 0.9 * 0.05 < files.written_bytes / (1 << 20) < 1.1 * (0.05 + 0.05 / 24)
    assert taken == sum(len(part) for part in names_of(log))


def names_of(log: ExampleLog) -> tuple[np.ndarray, np.ndarray]:
    taken = log.snapshot()
    return taken.training.y, taken.holdout.y


def test_bytes_written_are_counted(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    log = opened(tmp_path, files=files)
    put(log, 0, 3)
    assert files.written_bytes == 0
    log.flush()
    put(log, 3, 1)
    log.flush()
    sizes = [path.stat().st_size for path in (tmp_path / FOLDER).iterdir()]
    assert files.written_bytes == sum(sizes)
    log.flush()
    log.snapshot()
    assert files.written_bytes == sum(sizes)


def test_examples_of_another_kind_are_never_mixed_in(tmp_path: Path) -> None:
    log = opened(tmp_path)
    put(log, 0, 3)
    log.flush()
    for other in (
        Form((3,), "classes", 1, "r"),
        Form((2,), "none", 0, "r"),
        Form((2,), "classes", 1, "another recipe"),
    ):
        with pytest.raises(ConfigError, match="move that folder away"):
            opened(tmp_path, form=other)
    with pytest.raises(ConfigError):
        opened(tmp_path, form=None, recipe="another")
    assert opened(tmp_path, form=None, recipe="r").count == log.count
    for x, y in (
        (np.zeros(3), np.array(1)),
        (np.zeros(2), np.zeros(1)),
        (np.zeros((2, 1)), np.array(1)),
    ):
        with pytest.raises(ConfigError, match="one shape"):
            log.append(x.astype(np.float32), y.astype(np.int32))


def test_foreign_files_are_cleared_away_and_only_by_the_agent(tmp_path: Path) -> None:
    log = opened(tmp_path)
    put(log, 0, 3)
    log.flush()
    folder = tmp_path / FOLDER
    (folder / "000000000000900.examples").write_bytes(b"nonsense")
    (path,) = folder.glob("000000000000000*")
    (folder / "000000000000001.examples").write_bytes(path.read_bytes())
    (folder / "notes.txt").write_text("mine")
    assert len(look_into(folder).damaged) == 2
    assert len(list(folder.iterdir())) == 4
    assert opened(tmp_path).count == log.count
    assert {one.name for one in folder.iterdir()} == {path.name, "notes.txt"}


def test_threads_may_append_flush_and_look_at_once(tmp_path: Path) -> None:
    limits = Limits(examples=10_000, mib=8, waiting=10_000, mib_a_day=1e6)
    log = opened(tmp_path, limits=limits)
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            log.flush()

    writer = threading.Thread(target=write)
    writer.start()
    for number in range(2000):
        put(log, number, 1)
        if number % 500 == 0:
            names(log.snapshot())
    done.set()
    writer.join()
    assert sorted(both(names(log.snapshot()))) == list(range(2000))


def test_appending_survives_what_an_earlier_attempt_left(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"abc")
    append_durably(path, b"xxxxxxxx", at=3)
    append_durably(path, b"de", at=3)
    assert path.read_bytes() == b"abcde"
    with pytest.raises(FileNotFoundError):
        append_durably(tmp_path / "b", b"d", at=0)


def test_an_empty_log_has_an_empty_snapshot(tmp_path: Path) -> None:
    for form in (FORM, None):
        log = opened(tmp_path, form=form)
        taken = asyncio.run(asyncio.to_thread(log.snapshot))
        assert (log.count, taken.training.count, taken.holdout.count) == (0, 0, 0)
