"""Blocks: a blob comes back from any order of them, and only that blob."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_protocol.blobs import BlobRef, Block
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect
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
