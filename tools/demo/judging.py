"""Judging every version of a model on examples that no device holds."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from broker_server.records import RoundRecord
from broker_server.store import Store
from tools.demo.outcome import RoundOutcome
from tools.judging import Judge


class Jury:
    """Judges versions in a thread, in order, while the federation goes on."""

    def __init__(
        self, state: Path, judge: Judge, *, tell: Callable[[RoundOutcome], None]
    ) -> None:
        self._state = state
        self._judge = judge
        self._tell = tell
        self._versions: asyncio.Queue[int | None] = asyncio.Queue()
        self._outcomes: list[RoundOutcome] = []
        self._work = asyncio.create_task(self._judge_all())

    def version_made(self, version: int) -> None:
        """Queue a version whose merge is committed."""
        self._versions.put_nowait(version)

    async def verdicts(self) -> tuple[RoundOutcome, ...]:
        """Wait until everything queued is judged, and return all of it."""
        self._versions.put_nowait(None)
        await self._work
        return tuple(self._outcomes)

    def close(self) -> None:
        """Stop judging, whatever is left."""
        self._work.cancel()

    async def _judge_all(self) -> None:
        while (version := await self._versions.get()) is not None:
            outcome = await asyncio.to_thread(self._judged, version)
            self._outcomes.append(outcome)
            self._tell(outcome)

    def _judged(self, version: int) -> RoundOutcome:
        with Store.open(self._state, readonly=True) as store:
            params = store.params(version)
            record = next(
                record for record in store.rounds() if record.merged_version == version
            )
        return _outcome(record, version, quality=self._judge.judge(params))


def _outcome(record: RoundRecord, version: int, *, quality: float) -> RoundOutcome:
    seconds, overhead = record.seconds, record.overhead_seconds
    assert seconds is not None
    assert overhead is not None
    return RoundOutcome(
        round=record.round,
        version=version,
        quality=quality,
        participants=tuple(one.device for one in record.participants),
        runtimes=record.runtimes,
        loss=record.loss or 0.0,
        bytes_up=record.bytes_up,
        bytes_down=record.bytes_down,
        seconds=seconds,
        overhead_seconds=overhead,
        refused=dict(record.refused),
    )
