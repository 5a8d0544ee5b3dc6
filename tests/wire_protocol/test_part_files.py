"""Part files: what was received survives; what is damaged is received again."""

import os
import resource
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_protocol.blobs import BlobRef
from wire_protocol.cutting import Listing, blob_ref, cut
from wire_protocol.errors import DecodeError, RefusedError
from wire_protocol.part_files import (
    DiskFullError,
    PartFile,
    PartFolder,
    collect_stale,
    parse_map,
)
from wire_protocol.transfer import Assembly, Block, expect

BLOCK = 1024
BLOB = bytes(index * index % 251 for index in range(9000))
REF, FRAMES = cut(BLOB, block_bytes=BLOCK)
LISTING = Listing.of(BLOB, block_bytes=BLOCK)
MAP = f"{REF.sha256}.map"
PART = f"{REF.sha256}.part"


def opened(folder: Path) -> tuple[PartFile, Assembly]:
    part = PartFolder(folder).open(REF, block_bytes=BLOCK)
    assembly = Assembly(REF, block_bytes=BLOCK, max_bytes=1 << 20, part=part)
    assembly.resume(part.remembered.listing, part.remembered.here)
    return part, assembly


def put(assembly: Assembly, *indexes: int) -> None:
    for index in indexes:
        assembly.put(*expect(Block, FRAMES[index]))


def saved(folder: Path, *indexes: int, listed: bool = True) -> None:
    part, assembly = opened(folder)
    if listed:
        assembly.take_list(LISTING)
    put(assembly, *indexes)
    part.save(assembly.listing, assembly.here())


@pytest.mark.parametrize("listed", [True, False])
def test_a_part_that_was_saved_is_taken_up_again(tmp_path: Path, listed: bool) -> None:
    saved(tmp_path, 0, 3, 7, listed=listed)
    part, assembly = opened(tmp_path)
    assert assembly.listing == (LISTING if listed else None)
    assert assembly.ask(window=99) == (1, 2, 4, 5, 6, 8, 9, 10, 11)
    put(assembly, *{*range(len(FRAMES))} - {0, 3, 7})
    assert assembly.content() == BLOB
    part.discard()
    assert not list(tmp_path.iterdir())


def test_what_was_not_saved_comes_again(tmp_path: Path) -> None:
    saved(tmp_path, 0, 1)
    _, assembly = opened(tmp_path)
    put(assembly, 2, 3)
    _, assembly = opened(tmp_path)
    assert assembly.ask(window=2) == (2, 3)


def test_a_whole_part_becomes_a_file(tmp_path: Path) -> None:
    saved(tmp_path, *range(len(FRAMES)))
    part, assembly = opened(tmp_path)
    assembly.check()
    part.move_to(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BLOB
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_another_cut_or_another_blob_begins_anew(tmp_path: Path) -> None:
    saved(tmp_path, 0, 1)
    other = PartFolder(tmp_path).open(REF, block_bytes=2048)
    assert other.remembered.listing is None
    assert not any(other.remembered.here)
    saved(tmp_path, 0, 1)
    impostor = blob_ref(b"x" * 9000)
    (tmp_path / MAP).rename(tmp_path / f"{impostor.sha256}.map")
    (tmp_path / PART).rename(tmp_path / f"{impostor.sha256}.part")
    found = PartFolder(tmp_path).open(impostor, block_bytes=BLOCK)
    assert not any(found.remembered.here)


def test_bytes_that_are_written_are_counted(tmp_path: Path) -> None:
    folder = PartFolder(tmp_path)
    part = folder.open(REF, block_bytes=BLOCK)
    before = folder.bytes_written
    part.write(0, bytes(768))
    assert folder.bytes_written == before + 768
    part.save(None, bytes(2))
    assert folder.bytes_written == before + 768 + 2
    part.save(LISTING, bytes(2))
    grown = before + 768 + 2 + (tmp_path / MAP).stat().st_size
    assert folder.bytes_written == grown


def test_a_full_disk_is_found_before_anything_is_received(tmp_path: Path) -> None:
    large = BlobRef("ab" * 32, 1 << 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(DiskFullError, match="free some disk space"):
            PartFolder(tmp_path).open(large, block_bytes=BLOCK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RefusedError, match=r"cannot be used.*state_dir"):
        PartFolder(tmp_path / "file").open(REF, block_bytes=BLOCK)
    part, _ = opened(tmp_path)
    part.discard()
    for call in (
        lambda: part.write(0, b"x"),
        lambda: part.read(0, 1),
        lambda: part.save(None, bytes(2)),
        lambda: part.move_to(tmp_path / "there"),
    ):
        with pytest.raises(RefusedError):
            call()


def _good_map() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        saved(Path(folder), 0, 3, 7)
        return (Path(folder) / MAP).read_bytes()


GOOD_MAP = _good_map()
damaged_maps = (
    st.binary(max_size=600)
    | st.integers(0, len(GOOD_MAP)).map(lambda end: GOOD_MAP[:end])
    | st.binary(min_size=1, max_size=40).map(lambda tail: GOOD_MAP + tail)
    | st.tuples(st.integers(0, len(GOOD_MAP) - 1), st.integers(0, 255)).map(
        lambda at: GOOD_MAP[: at[0]] + bytes([at[1]]) + GOOD_MAP[at[0] + 1 :]
    )
)


@given(raw=damaged_maps, part=st.none() | st.binary(max_size=50) | st.just(bytes(9000)))
def test_whatever_the_files_hold_the_blob_can_be_received(
    raw: bytes, part: bytes | None
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / MAP).write_bytes(raw)
        if part is not None:
            (folder / PART).write_bytes(part)
        _, assembly = opened(folder)
        for _ in range(2):  # what lies is found out when all is there
            put(assembly, *assembly.ask(window=99))
            try:
                assert assembly.content() == BLOB
                break
            except DecodeError:
                assembly.take_list(LISTING)
        else:
            put(assembly, *assembly.ask(window=99))
            assert assembly.content() == BLOB


@given(raw=damaged_maps)
def test_parsing_a_map_takes_no_more_memory_than_the_map(raw: bytes) -> None:
    tracemalloc.start()
    parse_map(raw, ref=REF, block_bytes=BLOCK)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024


def test_a_map_of_any_size_is_read_up_to_a_limit(tmp_path: Path) -> None:
    saved(tmp_path, 0)
    with (tmp_path / MAP).open("r+b") as file:
        file.truncate(1 << 30)
    _, assembly = opened(tmp_path)
    assert assembly.ask(window=1) == (0,)


def test_parts_that_nobody_wants_are_collected(tmp_path: Path) -> None:
    def write(name: str, *, age_s: float, size: int = 100) -> None:
        for suffix in (".part", ".map"):
            (tmp_path / name).with_suffix(suffix).write_bytes(bytes(size))
        os.utime(tmp_path / f"{name}.part", (1000 - age_s, 1000 - age_s))

    def left() -> list[str]:
        return sorted(path.name for path in tmp_path.glob("*.part"))

    for name, age_s in (("new", 1), ("old", 50), ("oldest", 99), ("kept", 200)):
        write(name, age_s=age_s)
    (tmp_path / "orphan.map").write_bytes(b"")

    def collect(most_bytes: int) -> int:
        return collect_stale(
            tmp_path, keep={"kept"}, older_than_s=60, most_bytes=most_bytes, now=1000.0
        )

    assert collect(999) == 1
    assert left() == ["kept.part", "new.part", "old.part"]
    assert not (tmp_path / "orphan.map").exists()
    assert not (tmp_path / "oldest.map").exists()
    assert collect(250) == 1
    assert left() == ["kept.part", "new.part"]
    assert collect_stale(tmp_path / "none", older_than_s=0, most_bytes=0, keep=()) == 0
