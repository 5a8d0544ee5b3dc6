"""Limits: token buckets, one for each name that something is allowed to.

A bucket holds as much as may come at once and fills at a steady rate. Names are told
apart up to a number; those beyond it share one bucket, so that inventing names gains
nothing. Times are of a steady clock. This module is pure.

>>> taps = Meters(Rate(per_s=1.0, burst=2.0), most_names=1000)
>>> [taps.take("a", 1, now=0.0) for _ in range(3)], taps.take("b", 1, now=0.0)
([True, True, False], True)
>>> taps.take("a", 1, now=1.0)
True
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Self

_OTHERS: Final = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """How much may come: ``per_s`` for ever, and ``burst`` at once."""

    per_s: float
    burst: float

    def __post_init__(self) -> None:
        if not (self.per_s > 0 and self.burst > 0):
            raise ValueError(f"a rate and its burst are above 0, not {self}")

    @property
    def refill_s(self) -> float:
        """After how many seconds an empty bucket is full."""
        return self.burst / self.per_s


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is left to somebody: ``level`` at the time ``at``."""

    rate: Rate
    level: float
    at: float

    @classmethod
    def full(cls, rate: Rate, *, now: float) -> Self:
        """Return a bucket from which nothing was taken."""
        return cls(rate, rate.burst, now)

    def level_at(self, now: float) -> float:
        """Return what may be taken at ``now``; a clock that goes back adds nothing."""
        gained = max(0.0, now - self.at) * self.rate.per_s
        return min(self.rate.burst, self.level + gained)

    def taken(self, amount: float, *, now: float) -> "Bucket | None":
        """Return what is left without ``amount``; None where that is not there.

        A refused amount costs nothing, so who keeps on asking is not shut out for ever.
        """
        left = self.level_at(now) - amount
        return None if left < 0 else Bucket(self.rate, left, max(now, self.at))


class Meters:
    """A bucket of one rate for each name.

    Args:
        rate: Of every bucket.
        most_names: How many are told apart. One whose bucket is full again is
            forgotten to make room, for nothing is lost by that.
    """

    def __init__(self, rate: Rate, *, most_names: int) -> None:
        self._rate = rate
        self._most_names = most_names
        # the one untouched for longest is first, and full before all others
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, amount: float, *, now: float) -> bool:
        """Take ``amount`` for ``name``; tell whether it was there."""
        if name not in self._buckets:
            self._make_room(now)
            if len(self._buckets) >= self._most_names:
                name = _OTHERS
        known = self._buckets.get(name) or Bucket.full(self._rate, now=now)
        left = known.taken(amount, now=now)
        if left is None:
            return False
        self._buckets[name] = left
        self._buckets.move_to_end(name)
        return True

    def _make_room(self, now: float) -> None:
        while len(self._buckets) >= self._most_names:
            first, bucket = next(iter(self._buckets.items()))
            if now - bucket.at < self._rate.refill_s:
                return
            del self._buckets[first]
