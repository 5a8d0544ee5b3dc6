"""One round of the carousel serves all, whoever joins when; lost blocks come again."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from broker_server.carousel import MAX_LISTENERS, Carousel, Pace, Turn
from wire_protocol.cutting import cut
from wire_protocol.transfer import Assembly, Block, expect

RESEND_S = 2.0
TICK_S = 0.02
NOTHING = Turn()


def carousel_of(count: int, **pace: float) -> Carousel:
    return Carousel(count, pace=Pace(**pace), resend_s=RESEND_S)


@dataclass
class Device:
    """Receives all that is published, and asks as the protocol says."""

    name: str
    window: int
    assembly: Assembly
    quiet_s: float = 0.0

    def ask(self, carousel: Carousel, *, begins: bool, now: float) -> None:
        if begins:
            self.quiet_s = 0.0
            self.assembly.ask_again()
        wanted = self.assembly.ask(self.window)
        carousel.ask(wanted, device=self.name, begins=begins, now=now)

    def hear(self, carousel: Carousel, blocks: list[bytes], *, now: float) -> None:
        for block in blocks:
            if not self.assembly.complete:
                self.assembly.put(*expect(Block, block))
        self.quiet_s = 0.0 if blocks else self.quiet_s + TICK_S
        if self.assembly.complete:
            return
        if self.quiet_s > RESEND_S:
            self.ask(carousel, begins=True, now=now)
        elif self.assembly.wants_more(self.window):
            self.ask(carousel, begins=False, now=now)


class Fleet:
    """Devices that come at different ticks; the first copies of ``loses`` are lost."""

    def __init__(
        self, count: int, window: int, *, loses: frozenset[int] = frozenset()
    ) -> None:
        blob = bytes(index % 251 for index in range(768 * count - 5))
        self.ref, self.frames = cut(blob, block_bytes=1024)
        self.window = window
        self.carousel = carousel_of(count)
        self.devices: list[Device] = []
        self.published: list[int] = []
        self.before_last = 0
        self._loses = set(loses)

    def play(self, arrivals: list[int]) -> None:
        """Let every device fetch the blob."""
        for tick in range(10_000):
            now = tick * TICK_S
            for _ in range(arrivals.count(tick)):
                self.before_last = len(self.published)
                self._join(now)
            blocks = self.carousel.take(now=now).blocks
            self.published += blocks
            arrived = [self.frames[i] for i in blocks if i not in self._loses]
            self._loses.difference_update(blocks)
            for device in self.devices:
                device.hear(self.carousel, arrived, now=now)
            done = all(device.assembly.complete for device in self.devices)
            if done and tick >= max(arrivals):
                return
        raise AssertionError("not all devices got the blob")

    def _join(self, now: float) -> None:
        assembly = Assembly(self.ref, block_bytes=1024, max_bytes=1 << 26)
        device = Device(f"d{len(self.devices)}", self.window, assembly)
        self.devices.append(device)
        device.ask(self.carousel, begins=True, now=now)


@given(
    count=st.integers(1, 60),
    window=st.integers(1, 8),
    arrivals=st.lists(st.integers(0, 40), min_size=1, max_size=8),
)
def test_nothing_goes_out_twice_once_all_devices_are_there(
    count: int, window: int, arrivals: list[int]
) -> None:
    fleet = Fleet(count, window)
    fleet.play(arrivals)
    after = fleet.published[fleet.before_last :]
    assert len(after) == len(set(after))
    assert len(set(fleet.published)) == count


def test_latecomers_cost_what_they_missed_and_that_only_once() -> None:
    fleet = Fleet(100, 8)
    fleet.play([0] + [22 + number // 2 for number in range(19)])
    assert 20 < fleet.before_last < 90
    assert len(fleet.published) == 100 + fleet.before_last
    assert max(Counter(fleet.published).values()) == 2


@given(lost=st.frozensets(st.integers(0, 39), max_size=5))
def test_lost_blocks_are_repaired_singly(lost: frozenset[int]) -> None:
    fleet = Fleet(40, 4, loses=lost)
    fleet.play([0, 0, 0])
    assert len(fleet.published) == 40 + len(lost)


def test_a_blob_waits_for_company_in_proportion_to_its_size() -> None:
    carousel = carousel_of(100, company_s=0.004)
    carousel.ask([0], device="a", begins=True, now=0.0)
    assert carousel.due() == 0.4
    assert carousel.take(now=0.3) == NOTHING
    carousel.ask([0], device="b", begins=True, now=0.35)
    assert carousel.take(now=0.4) == Turn(listing=True, blocks=(0,))
    assert carousel.due() is None


def test_company_is_waited_for_at_most_half_a_resend_time() -> None:
    carousel = carousel_of(60_000)
    carousel.ask([0], device="a", begins=True, now=5.0)
    assert carousel.due() == 5.0 + RESEND_S / 2


def test_what_lies_behind_waits_for_the_front_but_not_for_ever() -> None:
    carousel = carousel_of(100, company_s=0, front_s=0.25)
    carousel.ask([50], device="a", begins=False, now=1.0)
    assert carousel.take(now=1.0).blocks == (50,)
    carousel.ask([0], device="b", begins=True, now=1.1)
    assert carousel.take(now=1.1) == Turn(listing=True)
    carousel.ask([51], device="a", begins=False, now=1.2)
    assert carousel.take(now=1.2).blocks == (51,)
    assert carousel.due() == 1.2 + 0.25
    assert carousel.take(now=1.4) == NOTHING
    assert carousel.take(now=1.5).blocks == (0,)


def test_who_asks_again_or_begins_again_is_believed() -> None:
    carousel = carousel_of(4, company_s=0)
    carousel.ask([0, 1, 2, 3], device="a", begins=False, now=0.0)
    carousel.ask([0], device="b", begins=False, now=0.0)
    assert carousel.take(now=0.0).blocks == (0, 1, 2, 3)
    carousel.ask([1], device="b", begins=False, now=0.1)
    assert carousel.take(now=0.1) == NOTHING  # it is on its way
    carousel.ask([1], device="b", begins=False, now=2.0)
    assert carousel.take(now=2.0).blocks == (1,)  # it was lost
    carousel.ask([3], device="b", begins=True, now=4.0)
    assert carousel.take(now=4.0) == Turn(listing=True, blocks=(3,))


def test_listeners_are_bounded() -> None:
    carousel = carousel_of(2)
    for number in range(MAX_LISTENERS + 10):
        carousel.ask([0], device=f"d{number}", begins=False, now=0.0)
    assert len(carousel._listeners) == MAX_LISTENERS
