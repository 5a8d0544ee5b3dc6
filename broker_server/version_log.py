"""The versions of the global model: their digests, deltas, keyframes and state.

Every version's parameters can be rebuilt from the keyframe before it and the deltas
since, exactly as a device does it. Only the newest has the server's own state (true
parameters and momentum).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from broker_server.blob_folder import BlobFolder
from broker_server.database import Database
from broker_server.global_model import MAX_LISTED_DELTAS, GlobalModel, follow
from broker_server.records import VersionRecord
from wire_protocol.blobs import BlobRef
from wire_protocol.errors import RefusedError
from wire_protocol.messages import DeltaRef
from wire_protocol.params import Vector, params_digest

KEYFRAME_EVERY: Final = 32
KEPT_VERSIONS: Final = 200
"""At least so many of the newest versions can be rebuilt; older ones are pruned."""


@dataclass(frozen=True, slots=True)
class PreparedVersion:
    """A version whose blobs are on disk, but which does not exist until committed."""

    model: GlobalModel
    params: str
    state: str
    keyframe: str | None
    delta: str | None
    delta_bytes: int


class VersionLog:
    """All versions of one server's model."""

    def __init__(self, database: Database, blobs: BlobFolder) -> None:
        self._db = database
        self._blobs = blobs

    def prepare(self, model: GlobalModel, delta: bytes | None) -> PreparedVersion:
        """Write a version's blobs; ``delta`` leads to it from the one before."""
        state = np.concatenate([model.params, model.momentum]).astype("<f4").tobytes()
        is_key = model.version % KEYFRAME_EVERY == 0
        return PreparedVersion(
            model=model,
            params=params_digest(model.held),
            state=self._blobs.put(state),
            keyframe=self._blobs.put(model.keyframe) if is_key else None,
            delta=None if delta is None else self._blobs.put(delta),
            delta_bytes=0 if delta is None else len(delta),
        )

    def latest(self) -> tuple[GlobalModel, tuple[DeltaRef, ...]] | None:
        """Return the newest version, and the deltas that lead to it, oldest first."""
        rows = self._db.all(
            "SELECT version, state, delta, delta_bytes FROM versions"
            " ORDER BY version DESC LIMIT ?",
            (MAX_LISTED_DELTAS,),
        )
        if not rows:
            return None
        version, digest = rows[0][:2]
        held = self.params(version)
        state = np.frombuffer(self._blobs.get(digest), "<f4").astype(np.float32)
        model = GlobalModel(version, state[: held.size], held, state[held.size :])
        deltas = tuple(
            DeltaRef(number, BlobRef(delta, size))
            for number, _, delta, size in reversed(rows)
            if delta is not None
        )
        return model, deltas

    def blob(self, digest: str) -> bytes:
        """Return a stored blob, such as a delta."""
        return self._blobs.get(digest)

    def records(self) -> list[VersionRecord]:
        """Return every version there was, oldest first."""
        return [
            VersionRecord(*row)
            for row in self._db.all(
                "SELECT version, params, delta_bytes FROM versions ORDER BY version"
            )
        ]

    def rebuildable(self) -> tuple[int, ...]:
        """Return the versions that ``params`` can rebuild, oldest first."""
        found = []
        whole = False
        for version, keyframe, delta in self._db.all(
            "SELECT version, keyframe, delta FROM versions ORDER BY version"
        ):
            whole = keyframe is not None or (whole and delta is not None)
            if whole:
                found.append(version)
        return tuple(found)

    def params(self, version: int) -> Vector:
        """Rebuild what devices hold of ``version``: float32 ``[size]``.

        Raises:
            RefusedError: There is no such version, or it was pruned.
        """
        start = version - version % KEYFRAME_EVERY
        rows = self._db.all(
            "SELECT version, keyframe, delta, params FROM versions"
            " WHERE version BETWEEN ? AND ? ORDER BY version",
            (start, version),
        )
        whole = len(rows) == version - start + 1 and all(row[2] for row in rows[1:])
        if not whole or rows[0][1] is None:
            raise RefusedError(
                f"version {version} is not in the store (any more)",
                remedy=f"the store has {spans(self.rebuildable())}",
            )
        held = np.frombuffer(self._blobs.get(rows[0][1]), "<f4").astype(np.float32)
        for number, _, delta, _ in rows[1:]:
            held = follow(held, self._blobs.get(delta), version=number)
        if params_digest(held) != rows[-1][3]:
            raise RefusedError(
                f"version {version} cannot be rebuilt: its digest differs",
                remedy="restore the state folder from a backup, or begin a new one",
            )
        return held

    # --- inside -------------------------------------------------------------------

    def insert(self, version: PreparedVersion) -> None:
        """Make ``version`` the newest; inside the caller's transaction."""
        self._db.execute("UPDATE versions SET state = NULL WHERE state IS NOT NULL")
        self._db.execute(
            "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)",
            (
                version.model.version,
                version.params,
                version.state,
                version.keyframe,
                version.delta,
                version.delta_bytes,
            ),
        )
        oldest = version.model.version - KEPT_VERSIONS
        self._db.execute(
            "UPDATE versions SET delta = NULL WHERE version < ?",
            (oldest - oldest % KEYFRAME_EVERY,),
        )

    def prune(self) -> None:
        """Remove blobs that no version names any more."""
        self._blobs.keep_only(self.named())

    def named(self) -> frozenset[str]:
        """Return the digests of all blobs that versions name."""
        rows = self._db.all(
            "SELECT state FROM versions UNION SELECT keyframe FROM versions"
            " UNION SELECT delta FROM versions"
        )
        return frozenset(digest for (digest,) in rows if digest is not None)


def spans(versions: Sequence[int]) -> str:
    """Return ascending ``versions`` for people.

    >>> spans([0, 32, 33, 34, 64])
    '0, 32 to 34, 64'
    """
    runs: list[list[int]] = []
    for version in versions:
        if runs and version == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], version]
        else:
            runs.append([version])
    return ", ".join(" to ".join(map(str, run)) for run in runs)
