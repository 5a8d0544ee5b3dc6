"""Sampling: from messages that come when they come to rows of all channels.

Times are those of arrival on a clock that only grows, since boards have no clock that
is right. A row is a tuple of numbers; None is a gap: data is missing there, and
nothing is made up. This module is pure.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

Row: TypeAlias = tuple[float, ...] | None
Values: TypeAlias = Sequence[float | None]


class Arrivals:
    """A row for every message that has all channels.

    After a silence of more than ``max_age_s``, and for a message in which a channel is
    missing, there is a gap.
    """

    def __init__(self, *, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._last = math.inf

    def take(self, rows: Sequence[Values], *, at: float) -> Iterator[Row]:
        """Yield what the rows of one message give."""
        if not 0 <= at - self._last <= self._max_age_s:
            yield None
        self._last = at
        if not rows:
            yield None
        for row in rows:
            whole = tuple(value for value in row if value is not None)
            yield whole if len(whole) == len(row) else None


class Clocked:
    """A row every ``period_s``, of the last values of all channels.

    A value is held for ``max_age_s``; where one is older, or was said to be missing,
    there is a gap.
    """

    def __init__(self, *, channels: int, period_s: float, max_age_s: float) -> None:
        self._period_s = period_s
        self._max_age_s = max_age_s
        self._values: list[float | None] = [None] * channels
        self._since = [-math.inf] * channels
        self._next: float | None = None
        self._was_at = -math.inf

    def take(self, values: Mapping[int, float | None], *, at: float) -> Iterator[Row]:
        """Yield the rows that are due, then remember ``values``, by channel."""
        yield from self.due(at=at)
        for channel, value in values.items():
            self._values[channel] = value
            self._since[channel] = at
        if self._next is None:
            self._next = at

    def due(self, *, at: float) -> Iterator[Row]:
        """Yield the rows of all moments before ``at`` that were not yielded yet."""
        if at < self._was_at:  # no such clock; begin anew rather than trust it
            self._values = [None] * len(self._values)
            self._next = None
        self._was_at = at
        if self._next is None:
            return
        until = min(self._since) + self._max_age_s
        while self._next < at and self._next <= until:
            row = tuple(value for value in self._values if value is not None)
            yield row if len(row) == len(self._values) else None
            self._next += self._period_s
        if self._next < at:
            yield None
            missed = math.ceil((at - self._next) / self._period_s)
            self._next += missed * self._period_s
