"""The doorkeeper: sees on the disk who was revoked or forgotten, and acts on it.

Whoever may no longer take part is offline to the server from then on, and no round
waits for it. What the broker keeps of a forgotten device is cleared; of one that was
forgotten while the server was down, when the broker hands it out again.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

from broker_server.clocks import Clocks
from broker_server.complaints import Complaints
from broker_server.enrolment_rules import CLAIM_MEMORY_S, DAY_S, is_due
from broker_server.fleet_folder import FleetFolder
from broker_server.intake import Intake
from broker_server.limits import Meters, Rate
from broker_server.roster import Roster
from broker_server.round_events import Declined
from broker_server.storage_error import StorageError
from broker_server.store import Store
from broker_server.vouching import Answer
from wire_protocol.enrolment import RenewalCall
from wire_protocol.errors import ConfigError, Reason
from wire_protocol.framing import frame
from wire_protocol.topics import Topics

LOOK_S: Final = 1.0
HOUR_S: Final = 3600.0
RETAINED: Final = ("availability", "info", "state")
"""What the broker keeps of a device."""
CLEARINGS: Final = Rate(10.0, 100.0)
_log = logging.getLogger("edgefed.server")


class Post(Protocol):
    """Publishes, and does not wait for it."""

    def __call__(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Begin to publish ``payload``."""


class Doorkeeper:
    """Looks once a second; ``run`` it beside the rounds.

    Args:
        folder: The fleet's.
        roster: Who may take part; it is brought up to date here.
        intake: Knows who is there.
        store: Remembers devices.
        tell: Takes what a round must hear.
        post: Publishes.
        days: How long certificates hold.
        clocks: ``wall`` for certificates, ``steady`` for limits.
    """

    def __init__(
        self,
        folder: FleetFolder,
        *,
        roster: Roster,
        intake: Intake,
        store: Store,
        tell: Callable[[Declined], None],
        post: Post,
        days: float,
        clocks: Clocks,
    ) -> None:
        self._folder = folder
        self._roster = roster
        self._intake = intake
        self._store = store
        self._tell = tell
        self._post = post
        self._days = days
        self._clocks = clocks
        self._topics = Topics(folder.fleet.fleet)
        self._clearings = Meters(CLEARINGS, most_names=1)
        self._called: dict[str, float] = {}
        self._spent: set[str] = set()
        self._untidy = True
        self._list_due = True
        self._tidied = -HOUR_S
        self._complain = Complaints(clocks.steady, most_names=8).about

    async def run(self) -> None:
        """Look once a second, for ever."""
        self._shut_out(self._roster.locked_out)
        while True:
            self.look()
            await self._spend_claims()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """See what has changed, and act on it."""
        try:
            gone = self._roster.refresh()
        except ConfigError as error:
            self._complain("folder", f"the members stay as they were: {error}")
        else:
            self._shut_out(gone)
        if self._untidy:
            self._forget()
        self._pardon()
        self._call_for_renewal()

    def answered(self, answers: Iterable[Answer]) -> None:
        """Publish answers of the enrolment desk, to whom they make a member."""
        self.look()
        for answer in answers:
            if answer.reason is not Reason.ACCEPTED:
                self._intake.count(answer.reason)
            if answer.frame is not None:
                self._post(answer.topic, answer.frame)

    def knock(self, device: str, rest: str) -> None:
        """Hear that ``rest`` of an unknown device came: say so, and clear it."""
        self._complain(
            "knock",
            f"{device} knocks, but is no member of fleet {self._folder.fleet.fleet}; "
            "'edgefed devices join' makes a token for a device that shall be one",
        )
        now = self._clocks.steady()
        if rest in RETAINED and self._clearings.take("all", 1, now=now):
            self._clear(device)

    def _shut_out(self, devices: Collection[str]) -> None:
        if not devices:
            return
        self._list_due = True
        for declined in self._intake.shut_out(devices):
            self._tell(declined)
        for device in sorted(devices):
            member = self._roster.members.get(device)
            if member is None:
                self._untidy = True
                self._clear(device)
                _log.warning("%s was forgotten: it is no member any more", device)
            else:
                why = member.why or "no reason was given"
                _log.warning("%s is locked out: %s", device, why)

    def _clear(self, device: str) -> None:
        for rest in RETAINED:
            self._post(self._topics.device(device, rest), b"", retain=True)

    def _forget(self) -> None:
        """Remember no device that is no member."""
        try:
            for record in self._store.devices():
                if record.device not in self._roster.members:
                    self._store.forget_device(record.device)
        except StorageError as error:
            self._complain("store", f"forgotten devices are still known: {error}")
        else:
            self._untidy = False

    def _pardon(self) -> None:
        """Let those out of quarantine whose release was asked for."""
        try:
            for device in self._folder.pardons():
                stood = self._store.release(device)
                self._folder.drop_pardon(device)
                told = "released" if stood else "released; nothing stood against it"
                _log.info("%s is %s", device, told)
        except (StorageError, ConfigError) as error:
            self._complain("pardons", f"nobody can be released: {error}")

    def _call_for_renewal(self) -> None:
        """Call on members that are there, and whose certificate ends."""
        now, wall = self._clocks.steady(), self._clocks.wall()
        every_s = min(HOUR_S, self._days * DAY_S / 12)
        online = self._intake.registry.online
        called = {one: at for one, at in self._called.items() if one in online}
        for device in online:
            member = self._roster.members.get(device)
            if member is None or now - called.get(device, -every_s) < every_s:
                continue
            if is_due(member.not_after, days=self._days, now=wall):
                called[device] = now
                call = RenewalCall(max(0, int(member.not_after - wall)))
                topic = self._topics.device(device, "cmd", "renew")
                self._post(topic, frame(call))
        self._called = called

    async def _spend_claims(self) -> None:
        """Close the claims of members that were seen, and remove old ones.

        Whoever locked somebody out may have been killed before the broker's list was
        written, so that is brought up to date too.
        """
        members = self._roster.members
        seen = self._intake.registry.online & members.keys()
        claims = {members[device].claim for device in seen} - {""} - self._spent
        now = self._clocks.steady()
        tidy = now - self._tidied >= HOUR_S
        if not (claims or tidy or self._list_due):
            return
        before = self._clocks.wall() - CLAIM_MEMORY_S if tidy else 0.0
        self._list_due = False
        try:
            await asyncio.to_thread(
                self._folder.spend_claims, claims, ended_before=before
            )
        except ConfigError as error:
            self._list_due = True
            self._complain("claims", f"the broker's list stays as it was: {error}")
            return
        for claim in sorted(claims):
            _log.info("%s opens nothing any more: its device is here", claim)
        self._spent |= claims
        if tidy:
            self._tidied = now
