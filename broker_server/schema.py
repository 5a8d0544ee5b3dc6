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
    # Rounds go on after a restart, and their updates outlive them. What an older server
    # left open has failed, but its updates wait for the next merge.
    (
        """
        CREATE TABLE new_rounds (
            round INTEGER PRIMARY KEY,
            version INTEGER NOT NULL REFERENCES versions,
            outcome TEXT NOT NULL
                CHECK (outcome IN ('open', 'merging', 'merged', 'failed')),
            merged_version INTEGER REFERENCES versions,
            started REAL NOT NULL,
            ended REAL,
            seconds REAL,
            cohort TEXT NOT NULL,       -- JSON list
            refused TEXT NOT NULL,      -- JSON object: reason to count
            cause TEXT,                 -- why it failed
            mode TEXT NOT NULL,
            goal INTEGER NOT NULL,
            minimum INTEGER NOT NULL,
            offer BLOB                  -- frame, until the round is over
        ) STRICT
        """,
        """
        INSERT INTO new_rounds SELECT round, version,
            iif(outcome = 'open', 'failed', outcome), merged_version, started, ended,
            seconds, cohort, refused, iif(outcome = 'open', 'stopped', cause),
            'sync', 0, 0, NULL
        FROM rounds
        """,
        """
        CREATE TABLE new_updates (
            round INTEGER NOT NULL REFERENCES rounds,
            device TEXT NOT NULL,
            transfer TEXT NOT NULL,
            reason TEXT NOT NULL,       -- of the receipt that holds
            version INTEGER NOT NULL REFERENCES versions,   -- its base
            merge_round INTEGER REFERENCES rounds,          -- whose merge takes it
            merged_version INTEGER REFERENCES versions,     -- what came of that
            runtime TEXT NOT NULL,
            num_examples INTEGER NOT NULL,
            steps INTEGER NOT NULL,
            loss REAL NOT NULL,
            train_s REAL NOT NULL,
            bytes_up INTEGER NOT NULL,
            bytes_down INTEGER NOT NULL,
            evaluation TEXT,            -- JSON object
            PRIMARY KEY (round, device)
        ) STRICT
        """,
        """
        INSERT INTO new_updates SELECT u.round, device, transfer, reason, r.version,
            iif(r.outcome = 'merged', r.round, NULL), r.merged_version, runtime,
            num_examples, steps, loss, train_s, bytes_up, bytes_down, evaluation
        FROM updates u JOIN rounds r ON r.round = u.round
        """,
        # Apart from the rows: an update's state changes without writing it again.
        """
        CREATE TABLE payloads (
            round INTEGER NOT NULL,
            device TEXT NOT NULL,
            payload BLOB NOT NULL,      -- until it is merged or given up
            PRIMARY KEY (round, device)
        ) STRICT
        """,
        """
        INSERT INTO payloads SELECT round, device, payload FROM updates
        WHERE payload IS NOT NULL
        """,
        "DROP TABLE updates",
        "DROP TABLE rounds",
        "ALTER TABLE new_rounds RENAME TO rounds",
        "ALTER TABLE new_updates RENAME TO updates",
        "CREATE INDEX updates_by_transfer ON updates (device, transfer)",
        "CREATE INDEX updates_by_device ON updates (device, round)",
        "CREATE INDEX updates_by_merge ON updates (merge_round)",
    ),
    # Not only classifiers are judged: right answers became any metric.
    (
        """
        UPDATE updates SET evaluation = replace(evaluation, '"correct"', '"metric_sum"')
        WHERE evaluation IS NOT NULL
        """,
    ),
    # The guard: norms as updates were accepted, and what devices' conduct comes to.
    (
        "ALTER TABLE updates ADD COLUMN norm REAL",
        "CREATE INDEX updates_by_version ON updates (merged_version)",
        """
        CREATE TABLE reputations (
            device TEXT PRIMARY KEY,
            judged INTEGER NOT NULL,
            faults INTEGER NOT NULL,
            offences INTEGER NOT NULL,
            strikes REAL NOT NULL,
            quarantines INTEGER NOT NULL,
            until INTEGER NOT NULL,     -- last round of its quarantine
            reason TEXT NOT NULL,
            length REAL NOT NULL,
            agreement REAL NOT NULL
        ) STRICT
        """,
        "CREATE INDEX reputations_by_until ON reputations (until)",
    ),
)
