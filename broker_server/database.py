"""The database: one SQLite connection, its transactions and its migrations.

WAL, so that observers read while the server writes. What is committed survives a power
cut, at the price of a disk flush for every transaction that changed something (0.4 ms
on a quiet disk, 5 to 10 ms on a busy one).
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

from broker_server.schema import MIGRATIONS
from broker_server.storage_error import REMEDY, StorageError
from wire_protocol.errors import RefusedError

Row = tuple[Any, ...]
_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_ABORT,  # another statement rolled our transaction back
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""SQLite's codes for trouble that may pass, without damage to what is stored."""


class BlobFile:
    """One stored value, open for reading; the connection is shared as ever."""

    def __init__(self, blob: sqlite3.Blob, busy: threading.RLock) -> None:
        self._blob = blob
        self._busy = busy

    def read(self, length: int, /) -> bytes:
        """Return the next ``length`` bytes, or those that are left."""
        with self._busy, _explained():
            return self._blob.read(length)

    def seek(self, offset: int, /) -> None:
        """Go to ``offset`` from the start."""
        with self._busy, _explained():
            self._blob.seek(offset)

    def close(self) -> None:
        """Let go of the value; its row may change again."""
        with self._busy, _explained():
            self._blob.close()


class Database:
    """A connection that threads may share: one uses it at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # The merge runs in a thread while the service notes check-ins.
        self._busy = threading.RLock()
        self._inside = False
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, readonly: bool) -> Self:
        """Open the file at ``path``; unless ``readonly`` create and migrate it.

        Raises:
            RefusedError: It is no database of ours, damaged, or a newer version's.
        """
        uri = path.absolute().as_uri() + ("?mode=ro" if readonly else "")
        with _explained():
            connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False
            )
        database = cls(connection)
        try:
            database._migrate(readonly=readonly)
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close the connection; a transaction that is not committed never was."""
        with self._busy:
            self._closed = True
            self._connection.close()

    @property
    def changes(self) -> int:
        """How many rows were ever changed through this connection."""
        with self._busy, _explained():
            return self._connection.total_changes

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Do what is executed inside as a whole, or not at all.

        One inside another joins it: nothing is committed before the outermost ends.

        Raises:
            StorageError: The disk is full, failing or locked; nothing was stored.
        """
        with self._busy, _explained():
            if self._inside:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            self._inside = True
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back itself, and a killed test closed us.
                if not self._closed and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._inside = False

    def copy_to(self, path: Path) -> None:
        """Write a copy of the whole database, as of now; others may go on using it."""
        with contextlib.closing(sqlite3.connect(path)) as copy, _explained():
            self._connection.backup(copy)

    def check(self) -> None:
        """See that nothing in the file is damaged.

        Raises:
            RefusedError: Something is.
        """
        for pragma in ("integrity_check(1)", "foreign_key_check"):
            for row in self.all(f"PRAGMA {pragma}"):
                if row != ("ok",):
                    raise RefusedError(
                        f"the database is damaged: {row[0]}",
                        remedy="restore the folder from another backup",
                    )

    def quick_check(self) -> str:
        """Return the first damage found without looking into indexes, "" if none."""
        found = str(self.one("PRAGMA quick_check(1)")[0])
        return "" if found == "ok" else found

    def execute(self, sql: str, values: tuple[object, ...] = ()) -> None:
        """Run a statement that returns nothing."""
        with self._busy, _explained():
            self._connection.execute(sql, values)

    def all(self, sql: str, values: tuple[object, ...] = ()) -> list[Row]:
        """Return every row."""
        with self._busy, _explained():
            return self._connection.execute(sql, values).fetchall()

    def one(self, sql: str, values: tuple[object, ...] = ()) -> Row:
        """Return the first row, which there must be."""
        return self.all(sql, values)[0]

    def blob(self, table: str, column: str, *, rowid: int) -> BlobFile:
        """Open one value, which must stay as it is until the file is closed."""
        with self._busy, _explained():
            blob = self._connection.blobopen(table, column, rowid, readonly=True)
            return BlobFile(blob, self._busy)

    def _migrate(self, *, readonly: bool) -> None:
        (done,) = self.one("PRAGMA user_version")
        if done > len(MIGRATIONS) or (readonly and done < len(MIGRATIONS)):
            raise RefusedError(
                f"the state folder has schema {done}, this edgefed has "
                f"{len(MIGRATIONS)}",
                remedy="install the newer edgefed, or start the server to upgrade it",
            )
        if readonly:
            return
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = FULL")
        for number, statements in enumerate(MIGRATIONS[done:], start=done + 1):
            with self.transaction():
                for statement in statements:
                    self.execute(statement)
                self.execute(f"PRAGMA user_version = {number}")
        # Not before: a migration may have to rebuild a table that others refer to.
        self.execute("PRAGMA foreign_keys = ON")


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn what SQLite says into one of our errors: passing trouble, or damage."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        problem = f"the state folder's database cannot be used: {error}"
        if code & 0xFF in _PASSING:  # extended codes have more above
            raise StorageError(problem, remedy=REMEDY) from error
        raise RefusedError(
            problem, remedy="restore the folder from a backup, or begin a new one"
        ) from error
