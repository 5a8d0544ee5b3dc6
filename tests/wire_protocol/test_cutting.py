"""Cuts and lists: both sides cut alike, and a list judges every block."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_protocol.blobs import MAX_BLOCKS, BlobRef, BlockList
from wire_protocol.cutting import (
    Cut,
    Listing,
    bitmap,
    block_bytes_within,
    wanted_blocks,
)
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import expect

sizes = st.sampled_from([1024, 1500, 32_768, 131_072])


@given(size=st.integers(1, 10**6), block_bytes=sizes)
def test_the_spans_of_all_blocks_are_the_blob(size: int, block_bytes: int) -> None:
    cut = Cut(size, block_bytes)
    end = 0
    for index in range(cut.count):
        start, length = cut.span(index)
        assert start == end
        assert length > 0
        end = start + length
    assert end == size


@given(size=st.integers(1, 200_000), block_bytes=sizes)
def test_a_list_fits_into_a_block_and_has_a_hash_for_each(
    size: int, block_bytes: int
) -> None:
    blob = bytes(index % 253 for index in range(size))
    listing = Listing.of(blob, block_bytes=block_bytes)
    assert len(listing.frame) <= block_bytes
    head, hashes = expect(BlockList, listing.frame)
    assert Listing(head, hashes) == listing
    for index in range(listing.cut.count):
        group = listing.group(index)
        start, length = listing.cut.span(group.start, blocks=len(group))
        assert index in group
        assert listing.has(
            hashlib.sha256(blob[start : start + length]).digest(), index=index
        )
        assert not listing.has(bytes(32), index=index)


def test_the_list_of_the_largest_cut_fits_too() -> None:
    for block_bytes in (1024, 131_072):
        most = MAX_BLOCKS * (block_bytes - 256)
        cut = Cut(most, block_bytes)
        groups = -(-cut.count // cut.stride)
        assert groups * 32 + 256 <= block_bytes


def test_a_blob_of_too_many_blocks_is_refused() -> None:
    with pytest.raises(DecodeError) as refused:
        Cut(MAX_BLOCKS * 768 + 1, 1024)
    assert refused.value.reason is Reason.TOO_LARGE


@given(
    size=st.integers(1, 2**28),
    block_bytes=st.integers(1024, 131_072),
    stride=st.integers(1, MAX_BLOCKS),
    hashes=st.binary(max_size=2000),
)
def test_any_list_is_taken_or_refused(
    size: int, block_bytes: int, stride: int, hashes: bytes
) -> None:
    try:
        listing = Listing(
            BlockList(BlobRef("ab" * 32, size), block_bytes, stride), hashes
        )
    except DecodeError:
        return
    for index in {0, listing.cut.count - 1}:
        assert index in listing.group(index)
        assert listing.has(hashes[index // stride * 32 :][:32], index=index)


@given(st.sets(st.integers(0, 500)))
def test_a_bitmap_comes_back_as_it_was(indexes: set[int]) -> None:
    assert wanted_blocks(bitmap(indexes), count=501) == sorted(indexes)
    assert wanted_blocks(bitmap(indexes), count=10) == sorted(
        index for index in indexes if index < 10
    )


@pytest.mark.parametrize(
    ("configured", "limit", "expected"),
    [
        (32_768, None, 32_768),
        (32_768, 1 << 20, 32_768),
        (131_072, 131_072, 130_048),
        (32_768, 100, 1024),
    ],
)
def test_the_block_size_suits_the_broker(
    configured: int, limit: int | None, expected: int
) -> None:
    assert block_bytes_within(configured, limit) == expected
