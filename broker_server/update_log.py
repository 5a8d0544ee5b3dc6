"""The accepted updates: each is pending, then merged into one version or given up.

Payloads are in the database, since a round's are kilobytes and must be durable together
with their row; they are erased when the update is merged or given up.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from broker_server.database import BlobFile, Database, Row
from broker_server.records import LedgerEntry, Participant, Pending, Update
from wire_protocol.errors import Reason
from wire_protocol.messages import Evaluation, UpdateReceipt


@dataclass(frozen=True, slots=True)
class Payload:
    """An update that a merge takes: open where it is stored.

    ``version`` is its base; ``norm`` its L2 norm, None where that was not stored.
    """

    device: str
    file: BlobFile
    version: int
    norm: float | None


class UpdateLog:
    """All accepted updates of one server; changes are the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # --- what is asked --------------------------------------------------------------

    def pending(self) -> tuple[Pending, ...]:
        """Return the updates that no merge has taken, as a merge adds them."""
        return self.taken(None)

    def taken(self, number: int | None) -> tuple[Pending, ...]:
        """Return the updates that the merge of round ``number`` has yet to bring in."""
        rows = self._db.all(
            "SELECT round, device, transfer, version FROM updates"
            " JOIN payloads USING (round, device) WHERE merge_round IS ?"
            " ORDER BY round, device",
            (number,),
        )
        return tuple(Pending(*row) for row in rows)

    def payloads(self, number: int) -> Iterator[Payload]:
        """Yield what the merge of round ``number`` takes, ordered by round and device.

        Payloads are open for reading.
        """
        rows = self._db.all(
            "SELECT payloads.rowid, version, device, norm FROM updates"
            " JOIN payloads USING (round, device) WHERE merge_round = ?"
            " ORDER BY round, device",
            (number,),
        )
        for rowid, version, device, norm in rows:
            file = self._db.blob("payloads", "payload", rowid=rowid)
            yield Payload(device, file, version, norm)

    def norms(self, version: int, *, window: int) -> list[tuple[str, float]]:
        """Return device and norm of what the ``window`` merges up to ``version`` took.

        In a fixed order; updates whose norm was never stored are left out.
        """
        rows = self._db.all(
            "SELECT device, norm FROM updates WHERE merged_version > ?"
            " AND merged_version <= ? AND norm IS NOT NULL ORDER BY round, device",
            (version - window, version),
        )
        return [(device, norm) for device, norm in rows]

    def receipt(self, device: str, transfer: str) -> UpdateReceipt | None:
        """Return what holds for an update of ``device``, if it was ever accepted."""
        return _receipt(
            self._db.all(
                "SELECT round, transfer, reason FROM updates"
                " WHERE device = ? AND transfer = ? ORDER BY round DESC LIMIT 1",
                (device, transfer),
            )
        )

    def last_receipt(self, device: str) -> UpdateReceipt | None:
        """Return what holds for the accepted update of ``device``'s newest round."""
        return _receipt(
            self._db.all(
                "SELECT round, transfer, reason FROM updates"
                " WHERE device = ? ORDER BY round DESC LIMIT 1",
                (device,),
            )
        )

    def transfer(self, number: int, device: str) -> str | None:
        """Return which update of a round was accepted from ``device``, if one was."""
        rows = self._db.all(
            "SELECT transfer FROM updates WHERE round = ? AND device = ?",
            (number, device),
        )
        return rows[0][0] if rows else None

    def entries(self) -> list[LedgerEntry]:
        """Return every accepted update and what became of it, by round and device."""
        rows = self._db.all(
            "SELECT round, device, transfer, version, reason, merged_version"
            " FROM updates ORDER BY round, device"
        )
        return [
            LedgerEntry(number, device, transfer, base, Reason(reason), merged)
            for number, device, transfer, base, reason, merged in rows
        ]

    def participants(self, number: int, *, merged: bool) -> tuple[Participant, ...]:
        """Return what the merge of a round took; else the updates of the round."""
        rows = self._db.all(
            "SELECT round, version, device, transfer, runtime, num_examples, steps,"
            " loss, train_s, bytes_up, bytes_down, evaluation, norm FROM updates"
            " WHERE (?2 AND merge_round = ?1) OR (NOT ?2 AND round = ?1)"
            " ORDER BY device, round",
            (number, merged),
        )
        participants = []
        for row in rows:
            *plain, told, norm = row
            evaluation = Evaluation(**json.loads(told)) if told else None
            values: Row = (*plain, evaluation, norm)
            participants.append(Participant(*values))
        return tuple(participants)

    # --- what changes -----------------------------------------------------------------

    def keep(self, update: Update) -> None:
        """Store an accepted update; a second of device and round changes nothing."""
        one = update.participant
        if self.transfer(one.round, one.device) is not None:
            return
        evaluation = json.dumps(asdict(one.evaluation)) if one.evaluation else None
        self._db.execute(
            "INSERT INTO updates VALUES (?, ?, ?, ?, ?, NULL, NULL,"
            " ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                one.round,
                one.device,
                one.transfer,
                Reason.ACCEPTED,
                one.version,
                one.runtime,
                one.num_examples,
                one.steps,
                one.loss,
                one.train_s,
                one.bytes_up,
                one.bytes_down,
                evaluation,
                one.norm,
            ),
        )
        self._db.execute(
            "INSERT INTO payloads VALUES (?, ?, ?)",
            (one.round, one.device, update.blob),
        )

    def take(self, number: int, taken: tuple[Pending, ...]) -> None:
        """Write down that the merge of round ``number`` takes these updates."""
        for one in taken:
            self._db.execute(
                "UPDATE updates SET merge_round = ? WHERE round = ? AND device = ?",
                (number, one.round, one.device),
            )

    def merged(self, number: int, version: int) -> None:
        """Note that what round ``number`` took is in ``version``."""
        self._db.execute(
            "UPDATE updates SET merged_version = ? WHERE merge_round = ?",
            (version, number),
        )
        self._erase_payloads(number)

    def give_up(self, number: int) -> None:
        """Note that what round ``number`` took never counts."""
        self._db.execute(
            "UPDATE updates SET reason = ? WHERE merge_round = ?",
            (Reason.ROUND_FAILED, number),
        )
        self._erase_payloads(number)

    def _erase_payloads(self, number: int) -> None:
        self._db.execute(
            "DELETE FROM payloads WHERE (round, device) IN"
            " (SELECT round, device FROM updates WHERE merge_round = ?)",
            (number,),
        )


def _receipt(rows: list[Row]) -> UpdateReceipt | None:
    for number, transfer, reason in rows:
        return UpdateReceipt(number, transfer, Reason(reason))
    return None
