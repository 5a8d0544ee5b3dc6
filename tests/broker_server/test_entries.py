"""Entries: what is read of a folder is what a fresh look at it would read."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_server.entries import Entries
from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import ConfigError, DecodeError

NAMES = st.sampled_from(["a", "b", "c"])


def text(raw: bytes) -> str:
    if raw == b"bad":
        raise DecodeError("it is bad")
    return raw.decode()


@settings(max_examples=40)
@given(
    changes=st.lists(
        st.one_of(
            st.tuples(st.just("write"), NAMES, st.sampled_from(["x", "y", "zz"])),
            st.tuples(st.just("remove"), NAMES, st.just("")),
            st.tuples(st.just("look"), NAMES, st.just("")),
        )
    )
)
def test_it_is_as_if_all_were_read_anew(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("entries")
    entries = Entries(folder, text)
    for what, name, content in changes:
        if what == "write":
            write_atomically(entries.path_of(name), content.encode())
        elif what == "remove":
            entries.path_of(name).unlink(missing_ok=True)
        expected = {
            path.stem: path.read_text() for path in sorted(folder.glob("*.json"))
        }
        assert entries.all() == expected
        assert entries.one(name) == expected.get(name)
    shutil.rmtree(folder)


def test_what_is_unchanged_is_not_read_again(tmp_path: Path) -> None:
    read: list[bytes] = []

    def note(raw: bytes) -> bytes:
        read.append(raw)
        return raw

    entries = Entries(tmp_path, note)
    for name in "ab":
        write_atomically(entries.path_of(name), name.encode())
    assert entries.all() == {"a": b"a", "b": b"b"}
    write_atomically(entries.path_of("b"), b"c")
    assert entries.all() == {"a": b"a", "b": b"c"}
    assert read == [b"a", b"b", b"c"]


def test_other_files_are_no_records(tmp_path: Path) -> None:
    for name in ("a.crt", ".a.json.new", ".json", ".b.json", "a.json.bak"):
        (tmp_path / name).write_text("x")
    assert Entries(tmp_path, text).all() == {}


def test_a_damaged_record_is_named_until_it_is_mended(tmp_path: Path) -> None:
    entries = Entries(tmp_path, text)
    path = entries.path_of("a")
    path.write_bytes(b"bad")
    for look in (entries.all, lambda: entries.one("a")):
        with pytest.raises(ConfigError, match=r"a\.json"):
            look()
    write_atomically(path, b"good")
    assert entries.all() == {"a": "good"}


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gone"):
        Entries(tmp_path / "gone", text).all()
