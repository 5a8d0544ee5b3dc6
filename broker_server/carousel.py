"""Carousel: in which order one blob's blocks go out, so that one round serves all.

Wanted blocks at or after the position go first; the rest waits until nobody drives the
front any more, and then goes out once for all who came late. A block that was already
published while a device listened is on its way to it, whoever had asked for it. This
module is pure.

>>> carousel = Carousel(4, pace=Pace(), resend_s=2.0)
>>> carousel.ask([0, 1], device="a", begins=False, now=0.0)
>>> carousel.ask([1, 2], device="b", begins=False, now=0.0)
>>> carousel.take(now=0.0)
Turn(listing=False, blocks=(0, 1, 2))
>>> carousel.ask([2], device="a", begins=False, now=0.1)  # on its way to a
>>> carousel.take(now=0.1)
Turn(listing=False, blocks=())
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_LISTENERS: Final = 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient the server is before it answers, in seconds.

    Needs are gathered until none came for ``quiet_s``, but for ``most_s`` at most;
    after an answer the next one waits for ``rest_s``. A blob that nobody was
    receiving waits ``company_s`` for each of its blocks, half a resend time at most:
    whoever joins meanwhile costs nothing. The front is given up after ``front_s``.
    """

    quiet_s: float = 0.01
    most_s: float = 0.06
    rest_s: float = 0.02
    company_s: float = 0.004
    front_s: float = 0.25


@dataclass(frozen=True, slots=True)
class Turn:
    """What goes out now: the list of hashes, and blocks."""

    listing: bool = False
    blocks: tuple[int, ...] = ()


@dataclass(slots=True)
class _Listener:
    """Since when a device receives all that is published, and what it asked for."""

    since: float
    asked: int = 0
    """A bitmap, as hostile devices ask for everything."""


class Carousel:
    """The blocks of one blob that devices wait for. Times are of a steady clock."""

    def __init__(self, count: int, *, pace: Pace, resend_s: float) -> None:
        self._count = count
        self._front_s = pace.front_s
        self._company_s = min(pace.company_s * count, resend_s / 2)
        self._wanted: set[int] = set()
        self._listing = False
        self._published: dict[int, float] = {}
        self._latest = -math.inf
        self._listeners: OrderedDict[str, _Listener] = OrderedDict()
        self._position = 0
        self._held_until = -math.inf

    def ask(
        self, blocks: Iterable[int], *, device: str, begins: bool, now: float
    ) -> None:
        """Note what ``device`` lacks.

        A device that ``begins``, perhaps again, wants the list of hashes, and has lost
        whatever of its blocks was published before.
        """
        listener = self._listeners.get(device)
        if listener is None or begins:
            listener = _Listener(now)
            self._listeners[device] = listener
            self._listeners.move_to_end(device)
            while len(self._listeners) > MAX_LISTENERS:
                self._listeners.popitem(last=False)
        if begins:
            self._listing = True
            if now >= self._held_until and now - self._latest > self._front_s:
                self._held_until = now + self._company_s
        for index in blocks:
            published = self._published.get(index, -math.inf)
            # Who asks a second time has waited for it in vain.
            if published < listener.since or listener.asked >> index & 1:
                self._wanted.add(index)
            listener.asked |= 1 << index

    def due(self) -> float | None:
        """Return when ``take`` has something to say; None while nothing is wanted."""
        if not self._wanted and not self._listing:
            return None
        wrap = not self._listing and self._front_goes_on()
        return max(self._held_until, self._latest + self._front_s if wrap else 0.0)

    def take(self, *, now: float) -> Turn:
        """Return what goes out now; it then counts as published."""
        due = self.due()
        if due is None or now < due:
            return Turn()
        listing, self._listing = self._listing, False
        if self._front_goes_on() and now < self._latest + self._front_s:
            return Turn(listing)
        ahead = sorted(index for index in self._wanted if index >= self._position)
        blocks = ahead or sorted(self._wanted)
        self._wanted.difference_update(blocks)
        if blocks:
            self._latest = now
            self._position = blocks[-1] + 1
            self._published |= dict.fromkeys(blocks, now)
        return Turn(listing, tuple(blocks))

    def _front_goes_on(self) -> bool:
        """Tell whether all that is wanted is behind a front that may still advance."""
        behind = bool(self._wanted) and max(self._wanted) < self._position
        return behind and self._position < self._count
