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
        try:
            connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False
            )
        except sqlite3.DatabaseError as error:
            raise _unusable(path, error) from error
        database = cls(connection)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            database._migrate(readonly=readonly)
        except sqlite3.DatabaseError as error:
            database.close()
            raise _unusable(path, error) from error
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
        with self._busy:
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
                self._connection.execute("ROLLBACK")
                raise
            else:
                self._connection.execute("COMMIT")
            finally:
                self._depth = 0

    def execute(self, sql: str, values: tuple[object, ...] = ()) -> None:
        """Run a statement that returns nothing."""
        with self._busy:
            self._connection.execute(sql, values)

    def all(self, sql: str, values: tuple[object, ...] = ()) -> list[Row]:
        """Return every row."""
        with self._busy:
            return self._connection.execute(sql, values).fetchall()

    def one(self, sql: str, values: tuple[object, ...] = ()) -> Row:
        """Return the first row, which there must be."""
        return self.all(sql, values)[0]

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
        for number, statements in enumerate(MIGRATIONS[done:], start=done + 1):
            with self.transaction():
                for statement in statements:
                    self.execute(statement)
                self.execute(f"PRAGMA user_version = {number}")


def _unusable(path: Path, error: sqlite3.DatabaseError) -> RefusedError:
    return RefusedError(
        f"{path} cannot be used: {error}",
        remedy="restore the state folder from a backup, or begin a new one",
    )
