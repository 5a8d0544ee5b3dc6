"""The database: one SQLite connection, its transactions and its migrations.

WAL, so that observers read while the server writes. What is committed survives the
process being killed; what is committed as ``durable`` also a power cut, at the price of
a disk flush (0.4 ms on a quiet disk, 5 to 10 ms on a busy one, ten times a round).
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from broker_server.schema import MIGRATIONS
from wire_protocol.errors import RefusedError

Row = tuple[Any, ...]


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
        self._depth = 0

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
        """Close the connection."""
        with self._busy:
            self._connection.close()

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """Do what is executed inside as a whole, or not at all.

        One inside another joins it: nothing is committed before the outermost ends.
        """
        with self._busy, _explained():
            if self._depth:
                yield
                return
            self._connection.execute(
                f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}"
            )
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:  # SQLite may have done it itself
                    self._connection.execute("ROLLBACK")
                raise
            else:
                self._connection.execute("COMMIT")
            finally:
                self._depth = 0

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
        self.execute("PRAGMA foreign_keys = ON")
        for number, statements in enumerate(MIGRATIONS[done:], start=done + 1):
            with self.transaction():
                for statement in statements:
                    self.execute(statement)
                self.execute(f"PRAGMA user_version = {number}")


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn what SQLite says (damaged, disk full, locked) into one of our errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise RefusedError(
            f"the state folder's database cannot be used: {error}",
            remedy="free some disk space, or restore the folder from a backup",
        ) from error
