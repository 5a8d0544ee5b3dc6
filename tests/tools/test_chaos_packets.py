"""Packets in a stream: whole ones come out whole, and no byte is lost or made up."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.chaos.packets import (
    MAX_HELD_BYTES,
    PUBACK,
    PUBLISH,
    Packet,
    PacketSplitter,
    puback,
    publish,
)

PUBLISHES = st.builds(
    publish,
    st.text(max_size=40),
    st.binary(max_size=400),
    packet_id=st.none() | st.integers(1, 65_535),
)


def _raw(piece: Packet | bytes) -> bytes:
    return piece if isinstance(piece, bytes) else piece.raw


def _fed(stream: bytes, cuts: list[int]) -> list[Packet | bytes]:
    splitter = PacketSplitter()
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [
        piece
        for start, end in itertools.pairwise(places)
        for piece in splitter.feed(stream[start:end])
    ]


@given(
    packets=st.lists(PUBLISHES, max_size=8), cuts=st.lists(st.integers(0), max_size=9)
)
def test_packets_come_out_as_they_went_in_however_the_stream_is_cut(
    packets: list[bytes], cuts: list[int]
) -> None:
    found = _fed(b"".join(packets), cuts)
    assert [_raw(piece) for piece in found] == packets
    assert all(isinstance(piece, Packet) for piece in found)


@given(stream=st.binary(max_size=2000), cuts=st.lists(st.integers(0), max_size=9))
def test_any_bytes_pass_in_order_up_to_an_unfinished_packet(
    stream: bytes, cuts: list[int]
) -> None:
    passed = b"".join(_raw(piece) for piece in _fed(stream, cuts))
    assert stream.startswith(passed)


@given(stream=st.binary(min_size=2, max_size=300))
def test_any_packet_has_an_identifier_or_none_and_can_be_sent_again(
    stream: bytes,
) -> None:
    for piece in PacketSplitter().feed(stream):
        if isinstance(piece, Packet):
            number = piece.packet_id
            assert number is None or 0 <= number < 65_536
            assert len(piece.again().raw) == len(piece.raw)


@pytest.mark.parametrize("size", [MAX_HELD_BYTES, 3 * MAX_HELD_BYTES])
def test_a_packet_too_long_to_hold_passes_in_pieces_and_the_next_is_whole(
    size: int,
) -> None:
    long, short = publish("t", bytes(size)), publish("t", b"x", packet_id=3)
    splitter = PacketSplitter()
    most = 0
    pieces: list[Packet | bytes] = []
    stream = long + short
    for start in range(0, len(stream), 50_000):
        pieces += splitter.feed(stream[start : start + 50_000])
        passed = sum(len(_raw(piece)) for piece in pieces)
        most = max(most, min(start + 50_000, len(stream)) - passed)
    assert b"".join(_raw(piece) for piece in pieces) == stream
    assert most < 50_000
    assert _raw(pieces[-1]) == short
    assert isinstance(pieces[-1], Packet)


def test_what_is_no_mqtt_passes_as_it_is_from_then_on() -> None:
    splitter = PacketSplitter()
    endless = b"\x30\xff\xff\xff\xff"
    assert splitter.feed(endless) == [endless]
    assert splitter.feed(b"anything") == [b"anything"]


def test_a_second_publish_is_marked_as_such_when_it_is_acknowledged() -> None:
    (once,) = PacketSplitter().feed(publish("t", b"x", packet_id=9))
    (never,) = PacketSplitter().feed(publish("t", b"x"))
    assert isinstance(once, Packet)
    assert isinstance(never, Packet)
    assert once.again().raw[0] == once.raw[0] | 0x08
    assert once.again().raw[1:] == once.raw[1:]
    assert never.again() == never


def test_an_acknowledgement_names_its_publish() -> None:
    (found,) = PacketSplitter().feed(puback(513).raw)
    assert isinstance(found, Packet)
    assert (found.kind, found.packet_id) == (PUBACK, 513)
    assert found.kind != PUBLISH
