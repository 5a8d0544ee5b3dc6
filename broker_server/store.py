"""The store: everything a server remembers, in SQLite and a folder of blobs.

An accepted update is stored before its receipt goes out, and
a merge is one transaction: version, momentum, what devices hold, and which updates
counted. Payloads of updates are in the database, since a round's are kilobytes and
must be durable together with their row, and they are erased when the round closes.

Example: ``with Store.open(folder, readonly=True) as store: store.rounds()``.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from broker_server.blob_folder import BlobFolder
from broker_server.database import BlobFile, Database, Row
from broker_server.records import (
    Cause,
    DeviceRecord,
    Participant,
    RoundRecord,
    VersionRecord,
)
from broker_server.version_log import PreparedVersion, VersionLog
from wire_protocol.errors import ConfigError, Reason, RefusedError
from wire_protocol.messages import CheckIn, Evaluation
from wire_protocol.params import Vector


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
        self._lock = lock
        self.version_log = VersionLog(database, blobs)

    @classmethod
    def open(cls, folder: Path, *, readonly: bool = False) -> Self:
        """Open the store in ``folder``; created unless ``readonly``.

        Raises:
            ConfigError: There is none to read.
            RefusedError: Another server writes it, a newer one wrote it, or the folder
                cannot be used.
        """
        path = folder / "server.sqlite"
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
        """Make one transaction of everything that is stored inside."""
        return self._db.transaction()

    def close(self) -> None:
        """Close the database and let go of the folder."""
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
        """Begin with this version."""
        with self._db.transaction(durable=True):
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
        self, number: int, *, version: int, cohort: tuple[str, ...], started: float
    ) -> None:
        """Note that a round began."""
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO rounds (round, version, outcome, started, cohort, refused)"
                " VALUES (?, ?, 'open', ?, ?, '{}')",
                (number, version, started, json.dumps(cohort)),
            )

    def keep_update(self, number: int, one: Participant, *, payload: bytes) -> None:
        """Store an accepted update; a second one of the device changes nothing."""
        evaluation = json.dumps(asdict(one.evaluation)) if one.evaluation else None
        with self._db.transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO updates VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    number,
                    one.device,
                    one.transfer,
                    Reason.ACCEPTED,
                    one.runtime,
                    one.num_examples,
                    one.steps,
                    one.loss,
                    one.train_s,
                    one.bytes_up,
                    one.bytes_down,
                    evaluation,
                    payload,
                ),
            )

    def payloads(self, number: int) -> Iterator[BlobFile]:
        """Yield the updates of an open round, open for reading, by device id."""
        for (rowid,) in self._db.all(
            "SELECT rowid FROM updates WHERE round = ? ORDER BY device", (number,)
        ):
            yield self._db.blob("updates", "payload", rowid=rowid)

    def commit_merge(
        self,
        number: int,
        version: PreparedVersion,
        *,
        ended: float,
        seconds: float,
        refused: Mapping[str, int],
    ) -> None:
        """Make ``version`` the newest and close its round, both or neither."""
        with self._db.transaction(durable=True):
            self.version_log.insert(version)
            self._db.execute(
                "UPDATE rounds SET outcome = 'merged', merged_version = ?, ended = ?,"
                " seconds = ?, refused = ? WHERE round = ?",
                (version.model.version, ended, seconds, json.dumps(refused), number),
            )
            self._erase_payloads(number)
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
        """Close a round that brought no version; none of its updates counts."""
        with self._db.transaction():
            self._db.execute(
                "UPDATE rounds SET outcome = 'failed', cause = ?, ended = ?,"
                " seconds = ?, refused = ? WHERE round = ?",
                (cause, ended, seconds, json.dumps(refused), number),
            )
            self._db.execute(
                "UPDATE updates SET reason = ? WHERE round = ?",
                (Reason.ROUND_FAILED, number),
            )
            self._erase_payloads(number)

    def rounds(self, *, last: int | None = None) -> list[RoundRecord]:
        """Return the newest ``last`` rounds, or all, oldest first."""
        rows = self._db.all(
            "SELECT round, version, outcome, merged_version, started, ended, seconds,"
            " cohort, refused, cause FROM rounds ORDER BY round DESC LIMIT ?",
            (-1 if last is None else last,),
        )
        records = []
        for row in reversed(rows):
            values: Row = (
                *row[:7],
                tuple(json.loads(row[7])),
                self._participants(row[0]),
                json.loads(row[8]),
                row[9],
            )
            records.append(RoundRecord(*values))
        return records

    def _participants(self, number: int) -> tuple[Participant, ...]:
        rows = self._db.all(
            "SELECT device, transfer, runtime, num_examples, steps, loss, train_s,"
            " bytes_up, bytes_down, evaluation FROM updates WHERE round = ?"
            " ORDER BY device",
            (number,),
        )
        participants = []
        for row in rows:
            evaluation = Evaluation(**json.loads(row[9])) if row[9] else None
            values: Row = (*row[:9], evaluation)
            participants.append(Participant(*values))
        return tuple(participants)

    # --- devices ------------------------------------------------------------------

    def note_device(self, device: str, check_in: CheckIn, *, at: float) -> None:
        """Remember what a device said of itself."""
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO devices VALUES (?1, ?2, ?3, ?4, ?5, ?5)"
                " ON CONFLICT (device) DO UPDATE SET runtime = ?2, family = ?3,"
                " num_examples = ?4, last_seen = ?5",
                (device, check_in.runtime, check_in.family, check_in.num_examples, at),
            )

    def devices(self) -> list[DeviceRecord]:
        """Return every device that ever checked in, by id."""
        return [
            DeviceRecord(*row)
            for row in self._db.all("SELECT * FROM devices ORDER BY device")
        ]

    def _erase_payloads(self, number: int) -> None:
        self._db.execute("UPDATE updates SET payload = NULL WHERE round = ?", (number,))


def _lock(folder: Path) -> IO[bytes]:
    """Make ``folder`` ours until the returned file is closed, or we die."""
    try:
        (folder / "blobs").mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "server.lock").open("wb")
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
