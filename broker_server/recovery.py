"""Recovery: where a server goes on after a restart, as a fold over what is stored.

A round that was open collects again, with what was accepted; one whose merge had begun
merges the same updates. This module is pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from broker_server.convergence import Progress, observe
from broker_server.records import OpenRecord, Pending, RoundRecord
from broker_server.round_states import Collecting, Merging, Waiting


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a restarted server knows.

    Attributes:
        number: Of the last round; 0 when there was none.
        last_merged: The newest round that brought a version.
        progress: Towards convergence.
        state: Of the last round, with every update that is not merged.
    """

    number: int
    last_merged: RoundRecord | None
    progress: Progress
    state: Waiting | Collecting | Merging


def recover(
    records: Sequence[RoundRecord],
    *,
    unfinished: OpenRecord | None,
    pending: Sequence[Pending],
    taken: Sequence[Pending],
    tolerance: float,
) -> Recovered:
    """Fold all ``records``, oldest first.

    ``taken`` is what the merge of the ``unfinished`` round takes, ``pending`` the rest.
    """
    merged = [record for record in records if record.outcome == "merged"]
    progress = Progress()
    for record in merged:
        progress = observe(progress, record.evaluation_loss, tolerance=tolerance)
    return Recovered(
        number=records[-1].round if records else 0,
        last_merged=merged[-1] if merged else None,
        progress=progress,
        state=_state(unfinished, frozenset(pending), tuple(taken)),
    )


def _state(
    unfinished: OpenRecord | None,
    pending: frozenset[Pending],
    taken: tuple[Pending, ...],
) -> Waiting | Collecting | Merging:
    if unfinished is None:
        return Waiting(pending)
    if unfinished.merging:
        return Merging(unfinished.round, unfinished.version, taken, pending)
    return Collecting(
        unfinished.round,
        unfinished.version,
        frozenset(unfinished.cohort),
        goal=unfinished.goal,
        minimum=unfinished.minimum,
        mode=unfinished.mode,
        pending=pending,
    )
