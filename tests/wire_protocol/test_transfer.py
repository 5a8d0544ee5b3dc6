"""Blocks: a blob comes back from any order of them, and only that blob."""

import contextlib
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_protocol.blobs import BlobRef, Block
from wire_protocol.cutting import Listing
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect, frame
from wire_protocol.part_files import PartFolder
from wire_protocol.transfer import (
    Assembly,
    blob_ref,
    block_count,
    block_frame,
    cut,
    wanted_blocks,
)

LIMIT = 1 << 20
blobs = st.binary(min_size=1, max_size=5000)
block_sizes = st.sampled_from([1024, 1536, 32768])


def _assembly(ref: BlobRef, block_bytes: int = 1024) -> Assembly:
    return Assembly(ref, block_bytes=block_bytes, max_bytes=LIMIT)


@given(blob=blobs, block_bytes=block_sizes, data=st.data())
def test_any_order_with_repeats_gives_the_blob(
    blob: bytes, block_bytes: int, data: st.DataObject
) -> None:
    ref, frames = cut(blob, block_bytes=block_bytes)
    again = data.draw(st.lists(st.sampled_from(frames), max_size=4))
    order = data.draw(st.permutations([*frames, *again]))
    assembly = _assembly(ref, block_bytes)
    outcomes = [assembly.add(*expect(Block, raw)) for raw in order]
    assert blob in outcomes
    assert all(outcome in (None, blob) for outcome in outcomes)


@given(blob=blobs, block_bytes=block_sizes)
def test_no_frame_is_larger_than_a_block(blob: bytes, block_bytes: int) -> None:
    _, frames = cut(blob, block_bytes=block_bytes)
    assert len(frames) == block_count(len(blob), block_bytes=block_bytes)
    assert max(map(len, frames)) <= block_bytes


def test_the_largest_header_fits_its_reserve() -> None:
    ref = BlobRef("f" * 64, 2**28)
    body = bytes(1024 - 256)
    raw = block_frame(body, ref, index=0, count=1 << 16, block_bytes=1024)
    assert len(raw) <= 1024


@given(blob=blobs, data=st.data())
def test_what_is_missing_is_asked_for_and_completes_the_blob(
    blob: bytes, data: st.DataObject
) -> None:
    ref, frames = cut(blob, block_bytes=1024)
    have = data.draw(st.sets(st.integers(0, len(frames) - 1), max_size=len(frames) - 1))
    assembly = _assembly(ref)
    for index in have:
        assert assembly.add(*expect(Block, frames[index])) is None
    wanted = wanted_blocks(assembly.missing(), count=len(frames))
    assert set(wanted) == set(range(len(frames))) - have
    outcomes = [assembly.add(*expect(Block, frames[index])) for index in wanted]
    assert outcomes[-1] == blob


def test_a_corrupted_block_empties_the_assembly_and_the_blob_can_come_again() -> None:
    blob = bytes(2000)
    ref, frames = cut(blob, block_bytes=1024)
    assembly = _assembly(ref)
    block, body = expect(Block, frames[0])
    assembly.add(block, b"x" + body[1:])
    assembly.add(*expect(Block, frames[1]))
    with pytest.raises(DecodeError, match="another digest"):
        assembly.add(*expect(Block, frames[2]))
    assert assembly.missing() == "7"
    assert [assembly.add(*expect(Block, raw)) for raw in frames][-1] == blob


WRONG = {
    "of another blob": (Block(BlobRef("cd" * 32, 2000), 0, 3), 768),
    "in another number": (Block(blob_ref(bytes(2000)), 0, 2), 768),
    "too short": (Block(blob_ref(bytes(2000)), 0, 3), 767),
    "too long": (Block(blob_ref(bytes(2000)), 2, 3), 768),
}


@pytest.mark.parametrize(("block", "length"), WRONG.values(), ids=WRONG.keys())
def test_a_block_that_contradicts_its_blob_is_refused(
    block: Block, length: int
) -> None:
    with pytest.raises(DecodeError):
        _assembly(blob_ref(bytes(2000))).add(block, bytes(length))


def test_a_blob_over_the_limit_is_refused_before_it_is_allocated() -> None:
    tracemalloc.start()
    with pytest.raises(DecodeError) as refused:
        _assembly(BlobRef("ab" * 32, LIMIT + 1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.value.reason is Reason.TOO_LARGE
    assert peak < LIMIT // 4


@given(blob=st.binary(min_size=1, max_size=40_000), data=st.data())
def test_with_wrong_blocks_among_them_and_a_list_at_any_time_the_blob_arrives(
    blob: bytes, data: st.DataObject
) -> None:
    ref, frames = cut(blob, block_bytes=1024)
    listing = Listing.of(blob, block_bytes=1024)
    bodies = [expect(Block, raw) for raw in frames]
    wrong = [(block, bytes(b ^ 1 for b in body)) for block, body in bodies]
    messages: list[tuple[Block, bytes] | Listing] = [*bodies, *wrong, listing]
    order = data.draw(st.permutations(messages))
    assembly = _assembly(ref)
    arrived = False
    for message in [*order, listing, *bodies]:
        with contextlib.suppress(DecodeError):
            if isinstance(message, Listing):
                assembly.take_list(message)
            elif not assembly.complete:
                assembly.put(*message)
        if assembly.complete and not arrived:
            with contextlib.suppress(DecodeError):
                assert assembly.content() == blob
                arrived = True
    for block, body in bodies:  # what was found wrong last comes once more
        if not arrived and assembly.put(block, body):
            assert assembly.content() == blob
            arrived = True
    assert arrived


@given(
    count=st.integers(1, 40),
    window=st.integers(1, 9),
    loses=st.lists(st.booleans(), max_size=60),
)
def test_at_most_a_window_is_under_way_and_every_block_is_asked_for_until_it_comes(
    count: int, window: int, loses: list[bool]
) -> None:
    blob = bytes(index % 251 for index in range(count * 768))
    ref, frames = cut(blob, block_bytes=1024)
    assembly = _assembly(ref)
    under_way = list(assembly.ask(window))
    asked = len(under_way)
    lost = 0
    while not assembly.complete:
        assert len(under_way) <= window
        if not under_way:  # silence: the rest of the window was lost
            assembly.ask_again()
            under_way = list(assembly.ask(window))
            asked += len(under_way)
        index = under_way.pop(0)
        if loses and loses.pop():
            lost += 1
            continue
        assembly.put(*expect(Block, frames[index]))
        if assembly.wants_more(window):
            more = assembly.ask(window)
            under_way += more
            asked += len(more)
    assert assembly.content() == blob
    assert asked == count + lost


def test_who_comes_late_follows_the_stream_and_asks_for_its_beginning_last() -> None:
    ref, frames = cut(bytes(768 * 10), block_bytes=1024)
    assembly = _assembly(ref)
    assembly.put(*expect(Block, frames[6]))
    assert assembly.ask(window=5) == (7, 8, 9, 0, 1)


def test_a_wrong_group_is_dropped_as_soon_as_it_is_whole() -> None:
    blob = bytes(range(250)) * 100
    ref, frames = cut(blob, block_bytes=1024)
    assembly = _assembly(ref)
    listing = Listing.of(blob, block_bytes=1024)
    assert listing.head.stride == 2
    assembly.take_list(listing)
    assembly.put(*expect(Block, frames[4]))
    with pytest.raises(DecodeError, match="another hash"):
        assembly.put(Block(ref, 5, 33), bytes(768))
    assert {4, 5} <= set(assembly.ask(window=99))


def test_a_list_that_lies_goes_with_all_that_it_let_in() -> None:
    blob, other = bytes(2000), b"x" * 2000
    ref, frames = cut(blob, block_bytes=1024)
    lie = Listing.of(other, block_bytes=1024)
    assembly = _assembly(ref)
    assembly.take_list(Listing(Listing.of(blob, block_bytes=1024).head, lie.hashes))
    assembly.put(Block(ref, 0, 3), other[:768])
    assembly.put(Block(ref, 1, 3), other[:768])
    with pytest.raises(DecodeError, match="another digest"):
        assembly.add(Block(ref, 2, 3), other[:464])
    assert assembly.listing is None
    assert [assembly.add(*expect(Block, raw)) for raw in frames][-1] == blob


def test_a_list_of_another_cut_or_blob_is_refused() -> None:
    assembly = _assembly(blob_ref(bytes(2000)))
    for listing in (
        Listing.of(bytes(2000), block_bytes=2048),
        Listing.of(bytes(2001), block_bytes=1024),
    ):
        with pytest.raises(DecodeError):
            assembly.take_list(listing)


def test_receiving_into_a_file_takes_memory_for_a_block_not_for_the_blob(
    tmp_path: Path,
) -> None:
    size, block_bytes = 8 << 20, 32_768
    blob = bytes(size)
    ref, listing = blob_ref(blob), Listing.of(blob, block_bytes=block_bytes)
    count = block_count(size, block_bytes=block_bytes)
    tracemalloc.start()
    part = PartFolder(tmp_path).open(ref, block_bytes=block_bytes)
    assembly = Assembly(ref, block_bytes=block_bytes, max_bytes=size, part=part)
    assembly.take_list(listing)
    for index in range(count):
        raw = block_frame(blob, ref, index=index, count=count, block_bytes=block_bytes)
        assembly.put(*expect(Block, raw))
    part.save(listing, assembly.here())
    assembly.check()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * block_bytes


@given(st.binary(max_size=400), st.integers(0, 3))
def test_any_message_is_taken_or_refused(tail: bytes, index: int) -> None:
    blob = bytes(2500)
    ref = blob_ref(blob)
    assembly = _assembly(ref)
    head = Listing.of(blob, block_bytes=1024).head
    for raw in (tail, frame(Block(ref, index, 4), tail), frame(head, tail)):
        with contextlib.suppress(DecodeError):
            assembly.put(*expect(Block, raw))
