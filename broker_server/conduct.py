"""Conduct: what devices do, brought to their reputations; and who may not take part."""

import logging
from collections.abc import Iterable

from broker_server.assessment import Assessment
from broker_server.config import ServerConfig
from broker_server.reputation import (
    OFFENCES,
    Reputation,
    after_merge,
    has_room,
    offended,
)
from broker_server.store import Store
from wire_protocol.errors import Reason

_log = logging.getLogger("edgefed.server")


class Conduct:
    """The reputations of one server's store, by the rules of its ``[guard]``."""

    def __init__(self, config: ServerConfig, store: Store) -> None:
        self._guard = config.guard
        self._least = config.round.minimum
        self._store = store

    def barred(self, number: int) -> frozenset[str]:
        """Return who is in quarantine in round ``number``."""
        if not self._guard.quarantine:
            return frozenset()
        return self._store.reputation_log.barred(number)

    def is_barred(self, device: str) -> bool:
        """Whether ``device`` is in quarantine now."""
        return device in self.barred(self._store.newest_round())

    def after_merge(
        self, number: int, assessments: Iterable[Assessment]
    ) -> list[Reputation]:
        """Return the reputations that the merge of round ``number`` changes.

        A function of what is stored: a merge that is repeated changes the same.
        """
        known = self._store.reputations()
        changed = after_merge(
            known,
            assessments,
            number=number,
            guard=self._guard,
            least=self._least,
        )
        self._tell(known, changed, number=number)
        return changed

    def offended(self, device: str, reason: Reason) -> None:
        """Note that something that ``device`` sent was refused for ``reason``.

        Raises:
            StorageError: It could not be stored.
        """
        if reason not in OFFENCES:
            return
        known, number = self._store.reputations(), max(self._store.newest_round(), 1)
        before = self._store.reputation_log.of(device)
        room = has_room(known, number=number, least=self._least)
        changed = offended(
            before,
            reason,
            number=number,
            guard=self._guard,
            spare=not self._guard.quarantine or not room,
        )
        if changed != before:
            with self._store.together():
                self._store.reputation_log.keep([changed])
            self._tell([before], [changed], number=number)

    def _tell(
        self, before: Iterable[Reputation], after: Iterable[Reputation], *, number: int
    ) -> None:
        known = {one.device: one.quarantines for one in before}
        for one in after:
            if one.quarantines > known.get(one.device, 0):
                _log.warning(
                    "%s is in quarantine for %d rounds: %s",
                    one.device,
                    one.until - number,
                    one.sentence,
                )
