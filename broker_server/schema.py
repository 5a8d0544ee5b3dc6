"""The store's tables, as numbered migrations: each is applied once, in order.

A migration that was released is never edited; the next change is a new one.
"""

from typing import Final

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE identity (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            fleet TEXT NOT NULL,
            model TEXT NOT NULL,
            layout TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE versions (
            version INTEGER PRIMARY KEY,
            params TEXT NOT NULL,       -- SHA-256 of what devices hold
            state TEXT,                 -- blob: params, momentum (of the latest)
            keyframe TEXT,              -- blob: what devices hold (of every 32nd)
            delta TEXT,                 -- blob: from the version before
            delta_bytes INTEGER NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE rounds (
            round INTEGER PRIMARY KEY,
            version INTEGER NOT NULL REFERENCES versions,
            outcome TEXT NOT NULL CHECK (outcome IN ('open', 'merged', 'failed')),
            merged_version INTEGER REFERENCES versions,
            started REAL NOT NULL,
            ended REAL,
            seconds REAL,
            cohort TEXT NOT NULL,       -- JSON list
            refused TEXT NOT NULL       -- JSON object: reason to count
        ) STRICT
        """,
        """
        CREATE TABLE updates (
            round INTEGER NOT NULL REFERENCES rounds,
            device TEXT NOT NULL,
            transfer TEXT NOT NULL,
            reason TEXT NOT NULL,       -- of the receipt that holds
            runtime TEXT NOT NULL,
            num_examples INTEGER NOT NULL,
            steps INTEGER NOT NULL,
            loss REAL NOT NULL,
            train_s REAL NOT NULL,
            bytes_up INTEGER NOT NULL,
            bytes_down INTEGER NOT NULL,
            evaluation TEXT,            -- JSON object
            payload BLOB,               -- until the round closes
            PRIMARY KEY (round, device)
        ) STRICT
        """,
        """
        CREATE TABLE devices (
            device TEXT PRIMARY KEY,
            runtime TEXT NOT NULL,
            family TEXT NOT NULL,
            num_examples INTEGER NOT NULL,
            first_seen REAL NOT NULL,
            last_seen REAL NOT NULL
        ) STRICT
        """,
    ),
    # Why a round failed. SQLite takes no comment after an added column.
    ("ALTER TABLE rounds ADD COLUMN cause TEXT",),
)
