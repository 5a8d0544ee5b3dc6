"""Published tables are read, or refused, whatever they hold."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_zoo.data import citylearn_files, skab_files
from model_zoo.data.tables import read_table
from wire_protocol.errors import ConfigError

one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = st.floats(allow_nan=False, allow_infinity=False)


@one_folder
@given(
    rows=st.lists(st.tuples(numbers, numbers), max_size=5),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_columns_are_found_by_name(
    tmp_path: Path, rows: list[tuple[float, float]], end: str
) -> None:
    path = tmp_path / "a.csv"
    lines = ["b;skipped;a", *(f"{b!r};;{a!r}" for a, b in rows)]
    path.write_bytes(end.join([*lines, ""]).encode())
    made = read_table(path, delimiter=";", columns=("a", "b"))
    assert np.array_equal(made, np.array(rows).reshape(len(rows), 2))


WRONG = {
    "empty": (b"", "cannot be read as a table"),
    "no text": (b"a;b\n\xff;1\n", "cannot be read as a table"),
    "no column": (b"a;c\n1;2\n", "has no column 'b'"),
    "ragged": (b"a;b\n1;2\n1\n", "line 3: list index out of range"),
    "wide": (b"a;b\n1;2;3\n", "line 2 has 3 cells under 2 names"),
    "a word": (b"a;b\n1;two\n", "line 2: could not convert"),
    "no number": (b"a;b\n1;\n", "line 2: could not convert"),
    "not finite": (b"a;b\n1;inf\n", "line 2 has 2 cells .* not finite"),
    "large": (b"a;b\n" + b"1;2\n" * 100, "larger than 100 bytes"),
}


@pytest.mark.parametrize(("content", "says"), WRONG.values(), ids=list(WRONG))
def test_another_table_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        read_table(path, delimiter=";", columns=("a", "b"), max_bytes=100)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read as a table"):
        read_table(tmp_path / "a.csv", delimiter=";", columns=("a",))


@one_folder
@given(content=st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_a_damaged_download_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken"
    header = ";".join(skab_files.COLUMNS).encode() + b"\n"
    for start in (b"", header):
        path.write_bytes(start + content)
        for convert in (skab_files.convert, citylearn_files.convert):
            try:
                convert([path, path])
            except ConfigError:
                continue
            assert not content.strip()


def test_runs_of_the_pump_keep_their_order(tmp_path: Path) -> None:
    quiet, other = tmp_path / "0.csv", tmp_path / "1.csv"
    head = ";".join(skab_files.COLUMNS)
    quiet.write_text(
        head.removesuffix(";anomaly")
        + "\n2020-02-08 13:30:47;1;2;3;4;5;6;7;8\n2020-02-08 13:30:49;1;2;3;4;5;6;7;9\n"
    )
    other.write_text(head + ";changepoint\n1970-01-02 00:00:01;0;0;0;0;0;0;0;0.1;1;0\n")
    made = skab_files.convert([quiet, other])
    assert made["x"].dtype == np.float32
    assert made["x"][:, 0].tolist() == [1, 1, 0]
    assert made["x"][:, 7].tolist() == [8, 9, np.float32(0.1)]
    assert made["y"].tolist() == [0, 0, 1]
    assert made["client_id"].tolist() == [0, 0, 1]
    assert made["time"].tolist() == [1_581_168_647, 1_581_168_649, 86_401]


def homes(folder: Path, calendars: list[str]) -> list[Path]:
    head = ",".join([*citylearn_files.CALENDAR, "empty", citylearn_files.LOAD])
    paths = []
    for number, calendar in enumerate(calendars, 1):
        paths.append(folder / f"{number}.csv")
        paths[-1].write_text(f"{head}\n7,24,7,0,,{number}.5\n{calendar},,0\n")
    paths.append(folder / "weather.csv")
    values = ",".join(map(str, range(len(citylearn_files.WEATHER))))
    names = ",".join(citylearn_files.WEATHER)
    paths[-1].write_text(f"{names}\n{values}\n{values}\n")
    return paths


def test_homes_share_a_calendar_and_the_weather(tmp_path: Path) -> None:
    made = citylearn_files.convert(homes(tmp_path, ["8,1,1,0"] * 2))
    assert made["load_kwh"].tolist() == [[1.5, 0], [2.5, 0]]
    assert made["calendar"].tolist() == [[7, 24, 7, 0], [8, 1, 1, 0]]
    assert made["weather"].tolist() == [list(range(16))] * 2
    assert {name: array.dtype.str for name, array in made.items()} == {
        "load_kwh": "<f4", "calendar": "|u1", "weather": "<f4",
    }  # fmt: skip


def test_homes_of_different_years_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has another calendar than"):
        citylearn_files.convert(homes(tmp_path, ["8,1,1,0", "8,2,1,0"]))
