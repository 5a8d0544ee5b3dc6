"""The ledger: every update that was accepted counts once. This module is pure.

What the server wrote down is compared with the receipts that an observer saw go out.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Acceptance: TypeAlias = tuple[int, str, str]
"""Round, device and transfer of an update whose receipt said ``accepted``."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An update in the server's books.

    ``merged_version`` is the version it went into; None when it waits for its merge, or
    when it was ``given_up``.
    """

    round: int
    device: str
    transfer: str
    merged_version: int | None
    given_up: bool = False

    @property
    def acceptance(self) -> Acceptance:
        """What its receipt says."""
        return self.round, self.device, self.transfer


@dataclass(frozen=True, slots=True)
class Balance:
    """The books, added up; ``lost`` and ``twice`` name the updates.

    Attributes:
        accepted: Updates in the books.
        merged: Of these, in a version.
        pending: Of these, to be merged later.
        witnessed: Acceptances that the observer saw.
        lost: Accepted, by books or receipt, but neither merged nor pending.
        twice: Counted more than once, or accepted more than once under two names.
        empty: Versions that no update went into.
    """

    accepted: int
    merged: int
    pending: int
    witnessed: int
    lost: tuple[str, ...]
    twice: tuple[str, ...]
    empty: tuple[int, ...]

    def problems(self) -> list[str]:
        """Return what is wrong; nothing when the ledger balances."""
        found = []
        for names, what in (
            (self.lost, "accepted, but lost"),
            (self.twice, "counted more than once"),
        ):
            if names:
                found.append(f"{len(names)} {what}: {_some(names)}")
        if self.empty:
            found.append(f"versions without an update: {_some(self.empty)}")
        return found


def balance(
    entries: Sequence[Entry],
    witnessed: Iterable[Acceptance],
    *,
    versions: Iterable[int],
) -> Balance:
    """Add up the books and hold them against the receipts.

    Args:
        entries: The server's books.
        witnessed: Acceptances that were seen; seeing one again changes nothing.
        versions: Every version but the first, which no update made.
    """
    seen = set(witnessed)
    kept = {entry.acceptance for entry in entries if not entry.given_up}
    given_up = {entry.acceptance for entry in entries if entry.given_up}
    # one device has one update in a round; one content is one update of one device
    places = Counter((entry.round, entry.device) for entry in entries)
    counted = Counter(
        (entry.device, entry.transfer)
        for entry in entries
        if entry.merged_version is not None
    )
    promised = Counter((number, device) for number, device, _ in seen)
    twice = {
        *(f"{device} in round {number}" for number, device in _repeated(places)),
        *(f"{device}'s {transfer}" for device, transfer in _repeated(counted)),
        *(f"{device} in round {number}" for number, device in _repeated(promised)),
    }
    filled = {entry.merged_version for entry in entries}
    return Balance(
        accepted=len(entries),
        merged=sum(entry.merged_version is not None for entry in entries),
        pending=sum(
            entry.merged_version is None and not entry.given_up for entry in entries
        ),
        witnessed=len(seen),
        lost=tuple(
            f"{device}'s {transfer} in round {number}"
            for number, device, transfer in sorted((seen | given_up) - kept)
        ),
        twice=tuple(sorted(twice)),
        empty=tuple(sorted(set(versions) - filled)),
    )


def _repeated(
    counts: "Counter[tuple[int, str]] | Counter[tuple[str, str]]",
) -> list[tuple[object, object]]:
    return [key for key, count in counts.items() if count > 1]


def _some(names: Sequence[object]) -> str:
    shown = ", ".join(str(name) for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
