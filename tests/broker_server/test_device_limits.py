"""What is over a device's limit is dropped, counted, and told once a minute."""

import contextlib
import logging

import pytest

from broker_server.complaints import EVERY_S
from broker_server.config import LimitsSection
from broker_server.device_limits import DeviceLimits
from wire_protocol.errors import DecodeError, Reason


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


TIGHT = LimitsSection(
    messages_per_s=1, burst_messages=100, bytes_per_s=1024, burst_bytes=1 << 20
)


def limits_with(clock: Clock, *, max_update_bytes: int = 1000) -> DeviceLimits:
    return DeviceLimits(
        TIGHT, max_update_bytes=max_update_bytes, block_bytes=1024, clock=clock
    )


def let_through(limits: DeviceLimits, device: str, *, count: int, size: int) -> int:
    passed = 0
    for _ in range(count):
        with contextlib.suppress(DecodeError):
            limits.check_message(device, size)
            passed += 1
    return passed


def test_messages_are_limited_for_each_device() -> None:
    clock = Clock()
    limits = limits_with(clock)
    assert let_through(limits, "a", count=200, size=1) == 104
    assert let_through(limits, "b", count=10, size=1) == 10
    clock.now = 5.0
    assert let_through(limits, "a", count=200, size=1) == 5


def test_bytes_are_limited_in_both_directions_apart() -> None:
    clock = Clock()
    limits = limits_with(clock)
    assert let_through(limits, "a", count=30, size=100_000) == 10
    for _ in range(10):
        limits.check_need("a", 100_000)
    with pytest.raises(DecodeError, match="asked for") as refused:
        limits.check_need("a", 100_000)
    assert refused.value.reason is Reason.OVER_LIMIT
    limits.check_need("b", 100_000)


def test_the_largest_updates_always_find_room() -> None:
    """However tight the limits are, for a device must be able to do its work."""
    update = 50 << 20
    limits = limits_with(Clock(), max_update_bytes=update)
    blocks = TIGHT.transfers * -(-update // 768)
    assert let_through(limits, "a", count=blocks, size=900) == blocks


def test_a_flood_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    limits = limits_with(clock)
    with caplog.at_level(logging.WARNING, logger="edgefed.server"):
        for minute in range(3):
            clock.now = minute * EVERY_S
            let_through(limits, "a", count=500, size=1)
        let_through(limits, "b", count=500, size=1)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 4
    assert all("limit of messages" in line for line in told)
