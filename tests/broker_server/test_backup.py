"""Backups come back whole, and nothing else is let into a state folder."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_server.backup import back_up, restore
from broker_server.records import Update
from broker_server.store import Store
from broker_server.tar_entries import Entry, entries
from tests.broker_server.test_store import begin, grow, participant, pending
from wire_protocol.errors import ConfigError, EdgefedError, RefusedError


def write_state(folder: Path) -> None:
    """Write a state with two versions, and an update that is pending."""
    with Store.open(folder) as store:
        model = grow(store, begin(store), number=1)
        store.open_round(2, version=1, cohort=("a", "b"), started=1.0)
        one = participant("b", number=2, version=model.version)
        store.keep_update(Update(one, b"pending"))


@cache
def good_backup() -> bytes:
    """Return the bytes of a backup."""
    with TemporaryDirectory() as folder:
        write_state(Path(folder) / "state")
        back_up(Path(folder) / "state", Path(folder) / "out.tar")
        return (Path(folder) / "out.tar").read_bytes()


@contextmanager
def attempt(raw: bytes) -> Iterator[tuple[Path, Path]]:
    """Offer ``raw`` as a backup; see that what is refused leaves nothing."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.tar").write_bytes(raw)
        yield folder / "in.tar", folder / "state"
        assert {path.name for path in folder.iterdir()} <= {"in.tar", "state"}


def repack(
    change: Callable[[dict[str, bytes]], dict[str, bytes]], *, kind: bytes = b"0"
) -> bytes:
    """Return a backup with other entries."""
    with tarfile.open(fileobj=io.BytesIO(good_backup())) as tar:
        found = {}
        for info in tar:
            content = tar.extractfile(info)
            assert content is not None
            found[info.name] = content.read()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, body in change(found).items():
            info = tarfile.TarInfo(name)
            info.size, info.type = len(body), kind
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


def test_what_is_restored_is_what_was_backed_up(tmp_path: Path) -> None:
    write_state(tmp_path / "state")
    out = tmp_path / "out.tar"
    with Store.open(tmp_path / "state") as running:  # a server may be at work
        written = back_up(tmp_path / "state", out)
        params = running.params(1)
    assert out.stat().st_mode & 0o777 == 0o600
    assert written.size == out.stat().st_size
    (tmp_path / "fresh").mkdir()
    assert restore(out, tmp_path / "fresh").blobs == written.blobs
    with Store.open(tmp_path / "fresh") as store:
        assert np.array_equal(store.params(1), params)
        assert [one.state for one in store.ledger()] == ["merged", "pending"]
        one = participant("b", number=2, version=1)
        assert store.update_log.pending() == (pending(one),)
        open_round = store.unfinished()
        assert open_round is not None
        assert open_round.round == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fresh",
        "out.tar",
        "state",
    ]


def test_a_backup_is_an_ordinary_tar_file() -> None:
    with tarfile.open(fileobj=io.BytesIO(good_backup())) as tar:
        names = tar.getnames()
    assert names[:2] == ["backup.json", "server.sqlite"]
    assert [entry.name for entry in drain(good_backup())] == names


def drain(raw: bytes) -> Iterator[Entry]:
    for entry in entries(io.BytesIO(raw)):
        assert sum(len(chunk) for chunk in entry.chunks()) == entry.size
        yield entry


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    write_state(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / "in.tar").write_bytes(good_backup())
    with pytest.raises(RefusedError, match="not empty"):
        restore(tmp_path / "in.tar", tmp_path)
    (tmp_path / "in.tar").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_without_state_or_a_file_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no server's state"):
        back_up(tmp_path / "none", tmp_path / "out.tar")
    with pytest.raises(ConfigError, match="cannot be read"):
        restore(tmp_path / "none.tar", tmp_path / "state")
    write_state(tmp_path / "state")
    with pytest.raises(ConfigError, match="cannot be written"):
        back_up(tmp_path / "state", tmp_path / "gone" / "out.tar")


def test_a_state_with_a_missing_blob_is_not_backed_up(tmp_path: Path) -> None:
    write_state(tmp_path / "state")
    min((tmp_path / "state" / "blobs").iterdir()).unlink()
    with pytest.raises(RefusedError, match="missing"):
        back_up(tmp_path / "state", tmp_path / "out.tar")
    assert not (tmp_path / "out.tar").exists()


def without_a_blob(found: dict[str, bytes]) -> dict[str, bytes]:
    return dict(list(found.items())[:-1])


def with_a_stranger(found: dict[str, bytes]) -> dict[str, bytes]:
    return {**found, "blobs/../../evil": b"evil"}


def without_a_blob_in_the_index(found: dict[str, bytes]) -> dict[str, bytes]:
    index = json.loads(found["backup.json"])
    gone = list(found)[-1]
    del index["blobs"][gone.removeprefix("blobs/")]
    kept = {name: body for name, body in found.items() if name != gone}
    return {**kept, "backup.json": json.dumps(index).encode()}


def with_a_path_for_a_digest(found: dict[str, bytes]) -> dict[str, bytes]:
    index = json.loads(found["backup.json"])
    index["blobs"] = {"../../evil": 4}
    return {"backup.json": json.dumps(index).encode(), **dict(list(found.items())[1:2])}


def with_a_lie_about_its_size(found: dict[str, bytes]) -> dict[str, bytes]:
    index = json.loads(found["backup.json"])
    index["database"]["size"] = 1 << 60
    return {**found, "backup.json": json.dumps(index).encode()}


def with_another_database(found: dict[str, bytes]) -> dict[str, bytes]:
    changed = bytearray(found["server.sqlite"])
    changed[-1] ^= 1
    return {**found, "server.sqlite": bytes(changed)}


def without_an_index(found: dict[str, bytes]) -> dict[str, bytes]:
    return dict(list(found.items())[1:])


@pytest.mark.parametrize(
    "change",
    [
        without_a_blob,
        with_a_stranger,
        without_a_blob_in_the_index,
        with_a_path_for_a_digest,
        with_a_lie_about_its_size,
        with_another_database,
        without_an_index,
    ],
)
def test_a_backup_that_is_not_sound_leaves_nothing(
    change: Callable[[dict[str, bytes]], dict[str, bytes]],
) -> None:
    with attempt(repack(change)) as (archive, state):
        with pytest.raises(RefusedError, match="damaged or none of ours"):
            restore(archive, state)
        assert not state.exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_links_and_folders_are_refused(kind: bytes) -> None:
    raw = repack(lambda found: found, kind=kind)
    with attempt(raw) as (archive, state):
        with pytest.raises(RefusedError, match="no plain file"):
            restore(archive, state)
        assert not state.exists()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_byte_can_be_changed_or_cut_off_unnoticed(data: st.DataObject) -> None:
    raw = bytearray(good_backup())
    at = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        del raw[at:]
    else:
        raw[at] ^= data.draw(st.integers(1, 255))
    with attempt(bytes(raw)) as (archive, state):
        try:
            restore(archive, state)
        except EdgefedError:
            assert not state.exists()
            return
        with Store.open(state) as store:  # what no checksum covers: padding, the end
            assert store.params(1).size


@given(st.binary(max_size=4096))
def test_arbitrary_bytes_are_refused(raw: bytes) -> None:
    with attempt(raw) as (archive, state):
        with pytest.raises(RefusedError):
            restore(archive, state)
        assert not state.exists()
