"""Updates come up whole, from any order of blocks, through restarts, within bounds."""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.uplink import MAX_PER_DEVICE, Advance, Uplink
from wire_protocol.cutting import Listing, cut, transfer_id, wanted_blocks
from wire_protocol.errors import DecodeError, Reason
from wire_protocol.framing import frame
from wire_protocol.transfer import Block

BLOCK = 1024
WINDOW = 4
LIMIT = 1 << 20


def uplink_in(
    folder: Path,
    *,
    max_bytes: int = LIMIT,
    most_bytes: int = 4 * LIMIT,
    admits: Callable[[str], bool] = lambda _: True,
) -> Uplink:
    return Uplink(
        folder,
        window=WINDOW,
        max_bytes=max_bytes,
        most_bytes=most_bytes,
        admits=admits,
    )


class Device:
    """Announces one blob and sends what it is asked for."""

    def __init__(
        self, blob: bytes, *, name: str = "a", block_bytes: int = BLOCK
    ) -> None:
        self.name = name
        self.listing = Listing.of(blob, block_bytes=block_bytes)
        self.transfer = transfer_id(self.listing.head.blob)
        self.blocks = cut(blob, block_bytes=block_bytes)[1]
        self.sent: list[int] = []

    def upload(self, uplink: Uplink, *, most: int = 1 << 30) -> bytes | None:
        """Announce, and answer needs until the blob is whole or ``most`` were sent."""
        step = uplink.announce(self.name, self.transfer, payload=self.listing.frame)
        due: list[int] = []
        while step.blob is None and most > 0:
            if step.need is not None:
                due += wanted_blocks(step.need.wanted, count=len(self.blocks))
            assert len(due) <= WINDOW
            self.sent.append(due.pop(0))
            most -= 1
            step = self.block(uplink, self.sent[-1])
        return step.blob

    def block(self, uplink: Uplink, index: int) -> Advance:
        return uplink.add(self.name, self.transfer, payload=self.blocks[index])


def blob_of(size: int, *, seed: int = 1) -> bytes:
    return bytes((seed * 31 + index * index) % 251 for index in range(size))


@given(
    size=st.integers(769, 30_000),
    kills=st.lists(st.integers(0, 12), max_size=6),
)
def test_after_any_kills_the_update_arrives_and_at_most_a_window_comes_again(
    size: int, kills: list[int]
) -> None:
    blob = blob_of(size)
    with tempfile.TemporaryDirectory() as folder:
        device = Device(blob)
        whole = None
        for most in kills:
            if whole is None:
                whole = device.upload(uplink_in(Path(folder)), most=most)
        again = device.upload(uplink_in(Path(folder)))
        assert (whole or blob) == blob == again
        repeated = len(device.sent) - len(set(device.sent))
        assert repeated <= WINDOW * len(kills)


def test_a_whole_update_that_was_not_dealt_with_is_whole_after_a_restart(
    tmp_path: Path,
) -> None:
    blob = blob_of(5000)
    device = Device(blob)
    assert device.upload(uplink_in(tmp_path)) == blob
    sent = len(device.sent)
    restarted = uplink_in(tmp_path)
    assert device.upload(restarted) == blob
    assert len(device.sent) == sent
    restarted.forget("a", device.transfer)
    assert not list(tmp_path.rglob("*.*"))


def test_an_update_of_one_block_touches_no_disk_and_needs_no_word(
    tmp_path: Path,
) -> None:
    uplink = uplink_in(tmp_path / "never made")
    ref, (block,) = cut(b"small", block_bytes=BLOCK)
    step = uplink.add("a", transfer_id(ref), payload=block)
    assert (step.blob, step.need) == (b"small", None)
    assert not (tmp_path / "never made").exists()


def test_a_wrong_block_is_refused_and_asked_for_again(tmp_path: Path) -> None:
    blob = blob_of(3000)
    device, uplink = Device(blob), uplink_in(tmp_path)
    assert device.upload(uplink, most=1) is None
    wrong = frame(Block(device.listing.head.blob, 2, 4), bytes(768))
    with pytest.raises(DecodeError, match="another hash"):
        uplink.add("a", device.transfer, payload=wrong)
    assert device.upload(uplink) == blob


def test_a_list_that_lies_about_the_whole_is_forgotten(tmp_path: Path) -> None:
    honest, other = Device(blob_of(3000)), Listing.of(bytes(3000), block_bytes=BLOCK)
    lie = frame(honest.listing.head, other.hashes)
    uplink = uplink_in(tmp_path)
    uplink.announce("a", honest.transfer, payload=lie)
    ref = honest.listing.head.blob
    bodies = [bytes(768), bytes(768), bytes(768), bytes(696)]
    frames = [frame(Block(ref, index, 4), body) for index, body in enumerate(bodies)]
    for block in frames[:3]:
        uplink.add("a", honest.transfer, payload=block)
    with pytest.raises(DecodeError, match="another digest"):
        uplink.add("a", honest.transfer, payload=frames[3])
    assert honest.upload(uplink) == blob_of(3000)


def test_a_device_can_have_two_transfers_under_way_and_no_more(tmp_path: Path) -> None:
    devices = [Device(blob_of(2000, seed=n)) for n in range(MAX_PER_DEVICE + 1)]
    for restart in (False, True):
        uplink = uplink_in(tmp_path)
        for device in devices:
            assert device.upload(uplink, most=1) is None
            assert len(list(tmp_path.glob("a/*.part"))) <= MAX_PER_DEVICE
        if not restart:
            with pytest.raises(DecodeError, match="not announced"):
                devices[0].block(uplink, 1)


def test_all_parts_together_are_bounded_and_old_ones_make_way(tmp_path: Path) -> None:
    devices = [Device(blob_of(2000, seed=n), name=f"d{n}") for n in range(3)]
    uplink = uplink_in(tmp_path, most_bytes=5000)
    for device in devices[:2]:
        device.upload(uplink, most=1)
    with pytest.raises(DecodeError) as full:
        devices[2].upload(uplink)
    assert full.value.reason is Reason.LOW_DISK
    restarted = uplink_in(tmp_path, most_bytes=5000)
    assert devices[0].upload(restarted) == blob_of(2000, seed=0)
    assert devices[2].upload(restarted) == blob_of(2000, seed=2)
    assert len(list(tmp_path.rglob("*.part"))) == 2


def test_what_was_received_of_a_device_can_be_dropped(tmp_path: Path) -> None:
    uplink = uplink_in(tmp_path)
    for name in ("a", "b"):
        device = Device(bytes(5 * BLOCK), name=name)
        assert device.upload(uplink, most=1) is None
    uplink.drop("a")
    uplink.drop("unheard-of")
    assert not list((tmp_path / "a").glob("*.part"))
    assert list((tmp_path / "b").glob("*.part"))
    assert Device(bytes(5 * BLOCK), name="a").upload(uplink) == bytes(5 * BLOCK)


def test_another_cut_begins_anew(tmp_path: Path) -> None:
    blob, uplink = blob_of(5000), uplink_in(tmp_path)
    Device(blob).upload(uplink, most=2)
    assert Device(blob, block_bytes=2048).upload(uplink) == blob


def test_a_disk_that_cannot_be_written_costs_the_message_only(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(DecodeError) as refused:
        Device(blob_of(2000)).upload(uplink_in(tmp_path))
    assert refused.value.reason is Reason.LOW_DISK


REFUSED = {
    "of a stranger": ("stranger", Device(b"x" * 2000), Reason.NOT_IN_COHORT),
    "over the limit": ("a", Device(b"x" * 9000), Reason.TOO_LARGE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_not_come_is_not_begun(tmp_path: Path, name: str) -> None:
    who, device, reason = REFUSED[name]
    device.name = who
    uplink = uplink_in(tmp_path, max_bytes=8000, admits=lambda one: one == "a")
    with pytest.raises(DecodeError) as refused:
        device.upload(uplink)
    assert refused.value.reason is reason
    with pytest.raises(DecodeError) as refused:
        device.block(uplink, 0)
    assert refused.value.reason is reason
    assert not list(tmp_path.iterdir())


def test_messages_belong_to_the_transfer_of_their_topic(tmp_path: Path) -> None:
    device, uplink = Device(blob_of(2000)), uplink_in(tmp_path)
    with pytest.raises(DecodeError, match="came as"):
        uplink.announce("a", "0" * 16, payload=device.listing.frame)
    with pytest.raises(DecodeError, match="came as"):
        uplink.add("a", "0" * 16, payload=device.blocks[0])


GOOD = Device(blob_of(3000))


@given(
    st.binary(max_size=300)
    | st.builds(lambda tail: frame(GOOD.listing.head, tail), st.binary(max_size=200))
    | st.builds(
        lambda index, body: frame(Block(GOOD.listing.head.blob, index, 4), body),
        st.integers(0, 3),
        st.binary(max_size=800),
    )
)
def test_whatever_a_device_sends_is_taken_or_refused(payload: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        uplink = uplink_in(Path(folder))
        uplink.announce("a", GOOD.transfer, payload=GOOD.listing.frame)
        for take in (uplink.announce, uplink.add):
            with contextlib.suppress(DecodeError):
                take("a", GOOD.transfer, payload=payload)
        assert GOOD.upload(uplink) == blob_of(3000)
