"""A folder of files: what is read, what is left out and why, what is found again."""

import contextlib
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as drawn
from hypothesis import strategies as st

from edge_agent.data_settings import (
    DataSettings,
    FolderSettings,
    LabelSettings,
    StoreSettings,
    WindowSettings,
)
from edge_agent.sources.csv_file import read_lines
from edge_agent.sources.folder import FolderStore
from edge_agent.sources.label_file import read_intervals
from wire_protocol.errors import ConfigError

FEW = drawn(max_examples=40)
"""Each case writes files."""

CLASSES = {"idle": 0, "walk": 1}


def settings(
    path: Path,
    *,
    columns: tuple[str, ...] = ("x", "y"),
    window: WindowSettings | None = None,
    labels: LabelSettings | None = None,
    store: StoreSettings | None = None,
    time: str = "",
) -> DataSettings:
    return DataSettings(
        source="folder",
        seed=1,
        folder=FolderSettings(path, columns, time),
        window=window or WindowSettings(),
        labels=labels or LabelSettings(by="column", column="who", classes=CLASSES),
        store=store or StoreSettings(),
    )


def whole(store: FolderStore) -> tuple[np.ndarray, np.ndarray]:
    taken = store.snapshot()
    assert store.count == taken.training.count
    return (
        np.concatenate([taken.training.x, taken.holdout.x]),
        np.concatenate([taken.training.y, taken.holdout.y]),
    )


def write_npz(path: Path, *, first: int = 0, count: int = 20) -> None:
    x = np.arange(first, first + count, dtype=np.float32)
    np.savez(path, x=np.stack([x, -x], axis=1), y=x.astype(np.int32) % 3)


def test_files_are_joined_and_keep_their_split_when_others_come(tmp_path: Path) -> None:
    write_npz(tmp_path / "b.npz")
    store = FolderStore(settings(tmp_path))
    before = store.snapshot()
    write_npz(tmp_path / "a.npz", first=100, count=50)
    (tmp_path / "notes.txt").write_text("no examples")
    after = store.snapshot()
    assert after.training.count + after.holdout.count == 70
    assert set(before.holdout.x[:, 0]) <= set(after.holdout.x[:, 0])
    assert set(before.training.x[:, 0]) <= set(after.training.x[:, 0])
    assert after.key != before.key
    again = FolderStore(settings(tmp_path)).snapshot()
    assert again.key == after.key
    assert again.training.x.tobytes() == after.training.x.tobytes()
    assert (after.training.y == after.training.x[:, 0] % 3).all()


def test_a_file_that_changes_is_another_snapshot(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz")
    store = FolderStore(settings(tmp_path))
    key = store.snapshot().key
    assert store.snapshot().key == key
    write_npz(tmp_path / "a.npz", first=1)
    os.utime(tmp_path / "a.npz", ns=(1, 1))
    assert store.snapshot().key != key


CSV = """x;y;who;other
1;2;idle;a
3;4;idle;b
5;6;walk;c
7;8;walk;d
;10;walk;e
11;12;walk;f
13;14;walk;g
"""


def test_rows_of_a_csv_are_examples(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV, encoding="utf-8-sig")
    x, y = whole(FolderStore(settings(tmp_path)))
    order = np.argsort(x[:, 0])
    assert x[order].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [11, 12], [13, 14]]
    assert y[order].tolist() == [0, 0, 1, 1, 1, 1]


def test_windows_of_a_csv_span_neither_gaps_nor_changes_of_label(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    window = WindowSettings(length=2, hop=1)
    labels = LabelSettings(by="column", column="who", classes=CLASSES)
    x, y = whole(FolderStore(settings(tmp_path, window=window, labels=labels)))
    order = np.argsort(x[:, 0, 0])
    assert x[order].tolist() == [
        [[1, 2], [3, 4]], [[5, 6], [7, 8]], [[11, 12], [13, 14]],
    ]  # fmt: skip
    assert y[order].tolist() == [0, 1, 1]


def test_a_majority_labels_windows_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    labels = LabelSettings(
        by="column", column="who", classes=CLASSES, changed="majority"
    )
    window = WindowSettings(length=3, hop=1)
    x, y = whole(FolderStore(settings(tmp_path, window=window, labels=labels)))
    order = np.argsort(x[:, 0, 0])
    assert y[order].tolist() == [0, 1]


def test_numbers_and_the_future_are_targets(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV.replace(";10;", "9;10;"))
    window = WindowSettings(length=2, hop=1)
    labels = LabelSettings(by="numbers", columns=("y",))
    x, y = whole(
        FolderStore(settings(tmp_path, columns=("x",), window=window, labels=labels))
    )
    assert x.shape == (6, 2, 1)
    assert (y == x[:, -1] + 1).all()
    labels = LabelSettings(by="ahead", columns=("y", "x"), steps=2)
    x, y = whole(FolderStore(settings(tmp_path, window=window, labels=labels)))
    assert len(x) == 4
    assert (y == x[:, -1, ::-1] + 4).all()


def test_rules_and_no_labels_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    rules = LabelSettings(by="rule", rules=("walk: x > 4",), classes=CLASSES)
    x, y = whole(FolderStore(settings(tmp_path, labels=rules)))
    assert (y == 1).all()
    assert len(x) == 4  # what no rule is about is no example
    rules = LabelSettings(
        by="rule", rules=("walk: x > 4",), classes=CLASSES, default="idle"
    )
    x, y = whole(FolderStore(settings(tmp_path, labels=rules)))
    assert (y == (x[:, 0] > 4)).all()
    x, y = whole(FolderStore(settings(tmp_path, labels=LabelSettings())))
    assert y.shape == (6, 0)


def test_a_file_of_labels_labels_a_recording(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text(
        "time,x\n" + "".join(f"2024-05-01T12:00:{n:02},{n}\n" for n in range(30))
    )
    (tmp_path / "labels.csv").write_text(
        "start,end,label\n"
        "2024-05-01T12:00:20Z,2024-05-01T12:00:25Z,walk\n"
        "2024-05-01T12:00:05,2024-05-01T12:00:10,idle\n"
    )
    labels = LabelSettings(by="file", file=tmp_path / "labels.csv", classes=CLASSES)
    x, y = whole(
        FolderStore(settings(data, columns=("x",), labels=labels, time="time"))
    )
    order = np.argsort(x[:, 0])
    assert x[order, 0].tolist() == [*range(5, 10), *range(20, 25)]
    assert y[order].tolist() == [0] * 5 + [1] * 5


def test_a_jump_in_time_breaks_a_window(tmp_path: Path) -> None:
    times = [0, 1, 2, 3, 10, 11, 12, 5, 6, 7]
    (tmp_path / "a.csv").write_text("t,x\n" + "".join(f"{t},{t}\n" for t in times))
    window = WindowSettings(length=3, max_age_s=2)
    given_settings = settings(
        tmp_path, columns=("x",), window=window, labels=LabelSettings(), time="t"
    )
    x, _ = whole(FolderStore(given_settings))
    assert sorted(x[:, :, 0].tolist()) == [[0, 1, 2], [5, 6, 7], [10, 11, 12]]


DAMAGED: dict[str, tuple[bytes, str]] = {
    "text for a number": (b"x,y,who\n1,2,idle\n1,oops,idle\n", "line 3: 'oops' is no"),
    "too few cells": (b"x,y,who\n1,2,idle\n1,2\n", "line 3 has 2 cells, its header 3"),
    "another header": (b"a,b,who\n1,2,idle\n", "no column 'x'"),
    "no rows": (b"x,y,who\n", "makes no example"),
    "nothing": (b"", "no column 'x'"),
    "no text": (b"x,y,who\n\xff\xfe,2,idle\n", "is no CSV file"),
    "a line without end": (b"x,y,who\n" + b"1" * 70_000, "a line of more than"),
    "quotes without end": (b'x,y,who\n"' + b"1\n" * 70_000, "is no CSV file"),
    "no class": (b"x,y,who\n1,2,cat\n", "makes no example"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_left_out_with_one_warning(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    content, problem = DAMAGED[name]
    (tmp_path / "bad.csv").write_bytes(content)
    (tmp_path / "good.csv").write_text("x,y,who\n1,2,idle\n" * 1)
    with caplog.at_level(logging.WARNING):
        store = FolderStore(settings(tmp_path))
        store.snapshot()
        store.snapshot()
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "bad.csv" in warning
    assert problem in warning
    assert len(whole(store)[0]) == 1


def test_a_file_of_another_form_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_npz(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.zeros((3, 5), np.float32))
    (tmp_path / "c.npz").write_bytes(b"nonsense")
    assert len(whole(FolderStore(settings(tmp_path)))[0]) == 20
    assert "b.npz has examples of shape [5] with no targets" in caplog.text
    assert "c.npz cannot be read as .npz" in caplog.text


def test_the_newest_files_are_kept_within_the_limits(tmp_path: Path) -> None:
    for number, name in enumerate(("c", "a", "b")):
        write_npz(tmp_path / f"{name}.npz", first=100 * number)
        os.utime(tmp_path / f"{name}.npz", (number, number))
    x, _ = whole(FolderStore(settings(tmp_path, store=StoreSettings(max_examples=45))))
    assert sorted({int(value) // 100 for value in x[:, 0]}) == [1, 2]


def test_windows_that_overlap_too_much_are_refused_in_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "".join(f"{n},{n}\n" for n in range(3000))
    (tmp_path / "a.csv").write_text("x,y\n" + rows)
    window = WindowSettings(length=1000, hop=1)
    store = FolderStore(
        settings(
            tmp_path, window=window, labels=LabelSettings(),
            store=StoreSettings(max_mib=1),
        )
    )  # fmt: skip
    assert store.count == 0
    assert "raise [data.window] hop" in caplog.text


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        FolderStore(settings(tmp_path / "no"))
    assert "[data.folder] path" in caught.value.remedy


def test_a_folder_that_goes_away_keeps_what_was_read(tmp_path: Path) -> None:
    folder = tmp_path / "stick"
    folder.mkdir()
    write_npz(folder / "a.npz")
    store = FolderStore(settings(folder))
    folder.rename(tmp_path / "pulled")
    assert len(whole(store)[0]) == 20


CELLS = st.sampled_from(
    ["1", "2.5", "", "x", "nan", "idle", '"', '"a', "\0", "1e999", "é"]
)


@FEW
@given(
    raw=st.binary(max_size=120)
    | st.lists(st.lists(CELLS, max_size=5).map(",".join), max_size=8)
    .map(lambda lines: "x,y,who\n" + "\n".join(lines))
    .map(str.encode)
)
def test_whatever_is_in_a_csv_file_it_is_read_or_left_out(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    (folder / "a.csv").write_bytes(raw)
    taken = FolderStore(settings(folder)).snapshot()
    assert np.isfinite(taken.training.x).all()
    with contextlib.suppress(ConfigError):
        assert all(
            len(line.cells) == 1 for line in read_lines(folder / "a.csv", ("x",))
        )


@FEW
@given(
    raw=st.binary(max_size=80)
    | st.lists(
        st.lists(
            st.sampled_from(["1", "3", "-2", "a", "", "2024-05-01", "nan", "9" * 40]),
            max_size=4,
        ).map(",".join),
        max_size=6,
    )
    .map(lambda lines: "start,end,label\n" + "\n".join(lines))
    .map(str.encode)
)
def test_whatever_is_in_a_file_of_labels_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.mktemp("labels") / "l.csv"
    path.write_bytes(raw)
    with contextlib.suppress(ConfigError):
        found = read_intervals(path)
        for start, end, label in zip(
            found.starts, found.ends, found.labels, strict=True
        ):
            assert start < end
            assert found.at(start) == label
            assert found.at(end) != label or end in found.starts


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("3,3,a\n", "ends after it starts"),
        ("1,3,a\n2,4,b\n", "overlap at 2"),
        ("soon,3,a\n", "is no time"),
    ],
)
def test_intervals_that_cannot_be_meant_are_refused(
    tmp_path: Path, rows: str, problem: str
) -> None:
    path = tmp_path / "l.csv"
    path.write_text("start,end,label\n" + rows)
    with pytest.raises(ConfigError, match=problem):
        read_intervals(path)
