"""The store: everything a server remembers, in SQLite and a folder of blobs.

An accepted update is stored before its receipt goes out. Which updates a merge takes is
written down before it begins, and it is one transaction: version, momentum, what
devices hold, and that these updates are in it.

Example: ``with Store.open(folder, readonly=True) as store: store.rounds()``.
"""

import fcntl
import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from broker_server.blob_folder import BlobFolder
from broker_server.database import Database, Row
from broker_server.records import (
    Cause,
    DeviceRecord,
    LedgerEntry,
    Mode,
    OpenRecord,
    Pending,
    RoundRecord,
    RoundTerms,
    Update,
    VersionRecord,
)
from broker_server.registry import MAX_DEVICES
from broker_server.reputation import Reputation
from broker_server.reputation_log import ReputationLog
from broker_server.update_log import UpdateLog
from broker_server.version_log import PreparedVersion, VersionLog
from wire_protocol.errors import ConfigError, RefusedError
from wire_protocol.messages import CheckIn
from wire_protocol.params import Vector

DATABASE: Final = "server.sqlite"
LOCK: Final = "server.lock"
"""In the state folder; held by the server that writes to it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a state folder belongs to: it is never mixed with another's."""

    fleet: str
    model: str
    layout: str


class Store:
    """One server's memory. Writing is for one process at a time; any may read."""

    def __init__(
        self, database: Database, blobs: BlobFolder, lock: IO[bytes] | None
    ) -> None:
        self._db = database
        self._blobs = blobs
        self._lock = lock
        self.version_log = VersionLog(database, blobs)
        self.update_log = UpdateLog(database)
        self.reputation_log = ReputationLog(database, most=MAX_DEVICES)

    @classmethod
    def open(cls, folder: Path, *, readonly: bool = False) -> Self:
        """Open the store in ``folder``; created unless ``readonly``.

        Raises:
            ConfigError: There is none to read.
            RefusedError: Another server writes it, a newer one wrote it, or the folder
                cannot be used.
        """
        path = folder / DATABASE
        blobs = BlobFolder(folder / "blobs")
        if readonly:
            if not path.is_file():
                raise ConfigError(
                    f"{folder} holds no server's state",
                    remedy="start 'edgefed server run' first, or correct state_dir",
                )
            return cls(Database.open(path, readonly=True), blobs, None)
        lock = _lock(folder)
        try:
            store = cls(Database.open(path, readonly=False), blobs, lock)
            store.version_log.prune()
        except BaseException:
            lock.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def together(self) -> AbstractContextManager[None]:
        """Make one transaction of everything that is stored inside.

        Raises:
            StorageError: The disk is full, failing or locked; nothing was stored.
        """
        return self._db.transaction()

    @property
    def changes(self) -> int:
        """How many rows were ever changed: it grows when something was stored."""
        return self._db.changes

    def close(self) -> None:
        """Close the database and let go of the folder, as when the process dies.

        A transaction that is under way is as if it had never begun.
        """
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    def claim(self, identity: Identity) -> None:
        """Bind the folder to one fleet and model.

        Raises:
            RefusedError: It belongs to another.
        """
        with self._db.transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO identity VALUES (1, ?, ?, ?)",
                (identity.fleet, identity.model, identity.layout),
            )
            row = self._db.one("SELECT fleet, model, layout FROM identity")
        if Identity(*row) != identity:
            raise RefusedError(
                f"the state folder belongs to fleet {row[0]} and model {row[1]} "
                f"(layout {row[2]}), not to {identity.fleet} and {identity.model} "
                f"(layout {identity.layout})",
                remedy="set another [server] state_dir, or remove the old one",
            )

    def commit_first(self, version: PreparedVersion) -> None:
        """Begin with this version, in place of another first one."""
        with self._db.transaction():
            self._db.execute("DELETE FROM versions WHERE version = 0")
            self.version_log.insert(version)

    def versions(self) -> list[VersionRecord]:
        """Return every version there was, oldest first."""
        return self.version_log.records()

    def rebuildable(self) -> tuple[int, ...]:
        """Return the versions that ``params`` can rebuild, oldest first."""
        return self.version_log.rebuildable()

    def params(self, version: int) -> Vector:
        """Rebuild what devices hold of ``version``: float32 ``[size]``.

        Raises:
            RefusedError: There is no such version, or it was pruned.
        """
        return self.version_log.params(version)

    # --- rounds -------------------------------------------------------------------

    def open_round(
        self,
        number: int,
        *,
        version: int,
        cohort: tuple[str, ...],
        started: float,
        mode: Mode = "sync",
        goal: int = 1,
        minimum: int = 1,
        offer: bytes = b"",
    ) -> None:
        """Note that a round began with this offer, or that its cohort grew."""
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO rounds (round, version, outcome, started, cohort, refused,"
                " mode, goal, minimum, offer)"
                " VALUES (?1, ?2, 'open', ?3, ?4, '{}', ?5, ?6, ?7, ?8)"
                " ON CONFLICT (round) DO UPDATE SET cohort = ?4, offer = ?8",
                (
                    *(number, version, started, json.dumps(cohort)),
                    *(mode, goal, minimum, offer),
                ),
            )

    def unfinished(self) -> OpenRecord | None:
        """Return the round that is open or whose merge has begun, if there is one."""
        rows = self._db.all(
            "SELECT round, version, cohort, mode, goal, minimum, offer, started,"
            " outcome = 'merging' FROM rounds WHERE outcome IN ('open', 'merging')"
        )
        for row in rows:
            names = tuple(json.loads(row[2]))
            values: Row = (*row[:2], names, *row[3:8], bool(row[8]))
            return OpenRecord(*values)
        return None

    def terms(self, number: int) -> RoundTerms | None:
        """Return what an update of round ``number`` must match, if it was ever held."""
        rows = self._db.all(
            "SELECT round, rounds.version, params, cohort FROM rounds"
            " JOIN versions ON versions.version = rounds.version WHERE round = ?",
            (number,),
        )
        for row in rows:
            values: Row = (*row[:3], tuple(json.loads(row[3])))
            return RoundTerms(*values)
        return None

    def keep_update(self, update: Update) -> None:
        """Store an accepted update; a second of device and round changes nothing."""
        with self._db.transaction():
            self.update_log.keep(update)

    def begin_merge(self, number: int, taken: tuple[Pending, ...]) -> None:
        """Write down which updates the merge of round ``number`` takes."""
        with self._db.transaction():
            self._db.execute(
                "UPDATE rounds SET outcome = 'merging' WHERE round = ?", (number,)
            )
            self.update_log.take(number, taken)

    def commit_merge(
        self,
        number: int,
        version: PreparedVersion,
        *,
        ended: float,
        seconds: float,
        refused: Mapping[str, int],
        reputations: Iterable[Reputation] = (),
    ) -> None:
        """Make ``version`` the newest, close its round and note conduct, or nothing."""
        with self._db.transaction():
            self.version_log.insert(version)
            self._db.execute(
                "UPDATE rounds SET outcome = 'merged', merged_version = ?, ended = ?,"
                " seconds = ?, refused = ?, offer = NULL WHERE round = ?",
                (version.model.version, ended, seconds, json.dumps(refused), number),
            )
            self.update_log.merged(number, version.model.version)
            self.reputation_log.keep(reputations)
        self.version_log.prune()

    def commit_failure(
        self,
        number: int,
        *,
        cause: Cause,
        ended: float,
        seconds: float | None,
        refused: Mapping[str, int],
    ) -> None:
        """Close a round that brought no version.

        Its updates stay pending; those that its merge took are given up.
        """
        with self._db.transaction():
            self._db.execute(
                "UPDATE rounds SET outcome = 'failed', cause = ?, ended = ?,"
                " seconds = ?, refused = ?, offer = NULL WHERE round = ?",
                (cause, ended, seconds, json.dumps(refused), number),
            )
            self.update_log.give_up(number)

    def rounds(self, *, last: int | None = None) -> list[RoundRecord]:
        """Return the newest ``last`` rounds, or all, oldest first."""
        rows = self._db.all(
            "SELECT round, version, outcome, merged_version, started, ended, seconds,"
            " cohort, refused, cause FROM rounds ORDER BY round DESC LIMIT ?",
            (-1 if last is None else last,),
        )
        records = []
        for row in reversed(rows):
            merged = row[2] in ("merging", "merged") or row[9] == "merge"
            values: Row = (
                *row[:7],
                tuple(json.loads(row[7])),
                self.update_log.participants(row[0], merged=merged),
                json.loads(row[8]),
                row[9],
            )
            records.append(RoundRecord(*values))
        return records

    def newest_round(self) -> int:
        """Return the number of the newest round; 0: there was none."""
        return int(self._db.one("SELECT coalesce(max(round), 0) FROM rounds")[0])

    def ledger(self) -> list[LedgerEntry]:
        """Return every accepted update and what became of it, by round and device."""
        return self.update_log.entries()

    # --- backup -------------------------------------------------------------------

    def copy_to(self, path: Path) -> frozenset[str]:
        """Copy the database to ``path``; return the blobs that the copy names."""
        self._db.copy_to(path)
        copy = Database.open(path, readonly=True)
        try:
            return VersionLog(copy, self._blobs).named()
        finally:
            copy.close()

    def open_blob(self, digest: str) -> IO[bytes]:
        """Open the file of a blob; it may be pruned while others use the folder."""
        return (self._blobs.folder / digest).open("rb")

    def check(self) -> frozenset[str]:
        """See that the database is sound; return the blobs it names.

        Raises:
            RefusedError: It is damaged.
        """
        self._db.check()
        return self.version_log.named()

    # --- devices ------------------------------------------------------------------

    def note_device(self, device: str, check_in: CheckIn, *, at: float) -> None:
        """Remember what a device said of itself; beyond ``MAX_DEVICES`` of none new."""
        said = (check_in.runtime, check_in.family, check_in.num_examples)
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO devices SELECT ?1, ?2, ?3, ?4, ?5, ?5"
                " WHERE ?1 IN (SELECT device FROM devices)"
                " OR (SELECT count(*) FROM devices) < ?6"
                " ON CONFLICT (device) DO UPDATE SET runtime = ?2, family = ?3,"
                " num_examples = ?4, last_seen = ?5",
                (device, *said, at, MAX_DEVICES),
            )

    def forget_device(self, device: str) -> None:
        """Forget what a device said of itself, and its conduct; its updates count."""
        with self._db.transaction():
            self._db.execute("DELETE FROM devices WHERE device = ?", (device,))
            self.reputation_log.forget(device)

    def devices(self) -> list[DeviceRecord]:
        """Return every device that ever checked in, by id."""
        return [
            DeviceRecord(*row)
            for row in self._db.all("SELECT * FROM devices ORDER BY device")
        ]

    def reputations(self) -> tuple[Reputation, ...]:
        """Return the conduct of every device that took part, by id."""
        return self.reputation_log.all()

    def release(self, device: str) -> bool:
        """Let ``device`` out of quarantine and forget its strikes; tell if it had any.

        For the process that writes the store.
        """
        with self._db.transaction():
            return self.reputation_log.release(device)


def _lock(folder: Path) -> IO[bytes]:
    """Make ``folder`` ours until the returned file is closed, or we die."""
    try:
        (folder / "blobs").mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / LOCK).open("wb")
    except OSError as error:
        raise RefusedError(
            f"state_dir {folder} cannot be used: {error.strerror}",
            remedy="correct [server] state_dir",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise RefusedError(
            f"another server is using {folder}",
            remedy="stop it, or set another [server] state_dir",
        ) from None
    return lock
