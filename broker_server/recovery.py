"""Recovery: where a server goes on after a restart, as a fold over its rounds.

A round that was open has failed: its updates were acknowledged, so their devices are
told that they do not count after all. Receipts of the last merged round may have been
lost with the server, so they can be repeated. This module is pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from broker_server.convergence import Progress, observe
from broker_server.records import RoundRecord
from wire_protocol.errors import Reason
from wire_protocol.messages import UpdateReceipt


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a restarted server knows.

    Attributes:
        number: Of the last round; 0 when there was none.
        last_merged: The newest round that brought a version.
        progress: Towards convergence.
        receipts: Of the last round's updates, by device.
        interrupted: Whether the last round was open, so that its receipts must go out.
    """

    number: int
    last_merged: RoundRecord | None
    progress: Progress
    receipts: tuple[tuple[str, UpdateReceipt], ...]
    interrupted: bool


def recover(records: Sequence[RoundRecord], *, tolerance: float) -> Recovered:
    """Fold all ``records``, oldest first."""
    merged = [record for record in records if record.outcome == "merged"]
    progress = Progress()
    for record in merged:
        progress = observe(progress, record.evaluation_loss, tolerance=tolerance)
    last = records[-1] if records else None
    counts = last is not None and last.outcome == "merged"
    reason = Reason.ACCEPTED if counts else Reason.ROUND_FAILED
    return Recovered(
        number=last.round if last else 0,
        last_merged=merged[-1] if merged else None,
        progress=progress,
        receipts=tuple(
            (one.device, UpdateReceipt(last.round, one.transfer, reason))
            for one in last.participants
        )
        if last
        else (),
        interrupted=last is not None and last.outcome == "open",
    )
