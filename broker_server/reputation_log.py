"""The reputations in the store: one row for each device that ever took part."""

from collections.abc import Iterable
from dataclasses import astuple, fields
from typing import Final

from broker_server.database import Database
from broker_server.reputation import Reputation

_COLUMNS: Final = ", ".join(field.name for field in fields(Reputation))
_PLACES: Final = ", ".join("?" for _ in fields(Reputation))


class ReputationLog:
    """All reputations of one server; changes are the caller's transaction."""

    def __init__(self, database: Database, *, most: int) -> None:
        self._db = database
        self._most = most

    def all(self) -> tuple[Reputation, ...]:
        """Return every reputation, by device."""
        rows = self._db.all(f"SELECT {_COLUMNS} FROM reputations ORDER BY device")  # noqa: S608 - names of fields
        return tuple(Reputation(*row) for row in rows)

    def of(self, device: str) -> Reputation:
        """Return the reputation of ``device``; a new one if it has none."""
        rows = self._db.all(
            f"SELECT {_COLUMNS} FROM reputations WHERE device = ?",  # noqa: S608 - names of fields
            (device,),
        )
        return Reputation(*rows[0]) if rows else Reputation(device)

    def barred(self, number: int) -> frozenset[str]:
        """Return who is in quarantine in round ``number``."""
        rows = self._db.all(
            "SELECT device FROM reputations WHERE until >= ?", (max(number, 1),)
        )
        return frozenset(device for (device,) in rows)

    def keep(self, changed: Iterable[Reputation]) -> None:
        """Store these; beyond the most devices there may be, new ones are left out."""
        for one in changed:
            self._db.execute(
                f"INSERT OR REPLACE INTO reputations ({_COLUMNS})"  # noqa: S608 - names of fields
                f" SELECT {_PLACES} WHERE ? IN (SELECT device FROM reputations)"
                " OR (SELECT count(*) FROM reputations) < ?",
                (*astuple(one), one.device, self._most),
            )

    def forget(self, device: str) -> None:
        """Forget ``device``, good and bad: its name is free for another one."""
        self._db.execute("DELETE FROM reputations WHERE device = ?", (device,))

    def release(self, device: str) -> bool:
        """Forget what stands against ``device``; return whether anything did."""
        before = self.of(device)
        self._db.execute(
            "UPDATE reputations SET strikes = 0.0, quarantines = 0, until = 0,"
            " reason = '' WHERE device = ?",
            (device,),
        )
        return bool(before.strikes or before.quarantines)
