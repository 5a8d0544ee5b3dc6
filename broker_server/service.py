"""The server's shell: events from link, timers and merges in, effects out.

``rounds.step`` decides; this module performs. Everything but the merge itself, which
runs in a thread, happens on the event loop, one event after the other, so that no
state needs a lock. What must last is stored before it is published: all that arrived
together is one transaction, and what it has to say is held back until it is committed.
"""

import asyncio
import logging

from broker_server import patience, round_effects, round_events, rounds
from broker_server.artifact import Artifact
from broker_server.clocks import Clocks
from broker_server.config import ServerConfig
from broker_server.inbox import Happening, Inbox, Stopped
from broker_server.invitation import Invitations
from broker_server.merger import Hindered, Merger
from broker_server.model_line import ModelLine
from broker_server.patience import Patience
from broker_server.publications import Phase, round_line, server_info, server_state
from broker_server.records import RoundRecord
from broker_server.roster import EVERYBODY, Roster
from broker_server.round_book import RoundBook
from broker_server.round_states import Failed, Merging, State, Waiting, missed
from broker_server.storage_error import StorageError
from broker_server.storage_trouble import StorageTrouble
from broker_server.store import Store
from broker_server.tally import Ending, Tally
from broker_server.wiring import wire
from wire_protocol.cutting import block_bytes_within
from wire_protocol.errors import Reason
from wire_protocol.link import Connected, Disconnected, Link, Received
from wire_protocol.messages import ServerInfo, UpdateReceipt

_log = logging.getLogger("edgefed.server")


class Service:
    """One server on one link, from start to finish; ``run`` it once."""

    def __init__(
        self,
        config: ServerConfig,
        artifact: Artifact,
        *,
        store: Store,
        link: Link,
        clocks: Clocks | None = None,
        roster: Roster = EVERYBODY,
    ) -> None:
        self._config = config
        self._artifact = artifact
        self._store = store
        self._link = link
        self._clocks = clocks or Clocks()
        self._roster = roster
        self._line = ModelLine(config, artifact, store)
        self._book = RoundBook(config, artifact, store, self._clocks)
        self._inbox = Inbox()
        self._state: State = Waiting()
        self._phase: Phase = "waiting"
        self._tally = Tally(config)
        self._invitations = Invitations(config, artifact, barred=self._line.barred)
        self._merger = Merger(self._line, self._clocks, tell=self._inbox.put)
        resend_s = config.server.resend_s
        self._patience = Patience(self._inbox.put, resend_s=resend_s)
        self._trouble = StorageTrouble(first_pause_s=resend_s)
        self._greeted = self._state_changed = self._connected = False
        self._ending: Ending = ""
        self._merge_due: int | None = None
        self._block_bytes = config.server.block_bytes

    @property
    def version(self) -> int:
        """Newest version of the model."""
        return self._line.tip.model.version

    async def run(self, stop: asyncio.Event) -> Ending:
        """Hold rounds until the configured end, or until ``stop`` is set; say which.

        A round that is open when the server is stopped goes on at the next start.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            wiring = wire(
                self._config,
                self._link,
                group=group,
                store=self._store,
                clocks=self._clocks,
                layout=self._artifact.manifest.layout,
                tip=lambda: self.version,
                roster=self._roster,
                tell=self._inbox.put,
            )
            self._mailer = wiring.mailer
            self._announcer, self._intake = wiring.announcer, wiring.intake
            self._distribution = wiring.distribution
            self._resume()
            await self._mailer.subscribe(self._intake.filters)
            tasks = [
                group.create_task(self._inbox.listen(self._link)),
                *(group.create_task(work()) for work in wiring.works),
                group.create_task(self._inbox.await_stop(stop)),
            ]
            while not self._is_over():
                first = await self._inbox.next()
                try:
                    self._handle_all(first)
                except StorageError as error:
                    self._notice(first)
                    await self._ride_out(error)
            self._phase = "stopped" if self._ending == "stopped" else "finished"
            self._announce_state()
            self._patience.close()
            self._announcer.pause()
            await self._mailer.drain()
            for task in tasks:
                task.cancel()
        return self._ending

    def _is_over(self) -> bool:
        """Whether nothing is left to do, nor to tell devices."""
        if self._ending == "stopped":
            return not isinstance(self._state, Merging)
        return bool(self._ending) and self._book.open is None and self._greeted

    def _handle_all(self, first: Happening) -> None:
        """Handle what has arrived by now, as a whole or not at all."""
        with self._mailer.holding(), self._store.together():
            self._handle(first)
            for happening in self._inbox.present():
                self._handle(happening)
        self._follow_up()

    def _follow_up(self) -> None:
        """Do what had to wait until everything was stored."""
        if self._merge_due is not None and self._book.open is not None:
            self._merger.begin(
                self._merge_due,
                began=self._book.open.began,
                intake=self._intake,
                group=self._group,
            )
        self._merge_due = None
        self._intake.tidy_up()
        self._patience.await_return(self._tally.number, self._absent())
        self._patience.leave_to_finish(self._intake.registry.busy)
        if self._state_changed:
            self._announce_state()

    def _handle(self, happening: Happening) -> None:
        self._notice(happening)
        match happening:
            case Received(topic, payload, retained, conn):
                event = self._intake.receive(
                    topic, payload, retained=retained, conn=conn
                )
                if event is not None:
                    self._feed(event)
            case Connected(_, protocol):
                _log.info("connected to the broker with MQTT %s", protocol)
                self._greet()
            case Disconnected(reason):
                _log.warning("no connection to the broker: %s", reason)
                self._patience.stop_roll_call()
            case Hindered(error):
                raise error
            case Stopped():
                pass
            case _:
                self._wake_up(happening)
        self._invite()

    def _wake_up(self, wakeup: patience.Wakeup | round_events.Event) -> None:
        match wakeup:
            case patience.RollCallOver():
                self._intake.end_roll_call()
            case patience.GraceOver(number, device):
                self._wait_no_longer(number, device)
            case patience.BusyOver(devices):
                self._intake.occupied(devices, busy=False)
            case patience.PauseOver():
                self._patience.end_pause()
            case _:
                self._feed(wakeup)

    def _notice(self, happening: Happening) -> None:
        """Take what holds even if the rest of the batch comes to nothing."""
        match happening:
            case Connected(max_packet_bytes=limit):
                self._connected = True
                self._block_bytes = block_bytes_within(
                    self._config.server.block_bytes, limit
                )
                self._distribution.recut(self._block_bytes)
            case Disconnected():
                self._connected = False
            case Stopped():
                self._ending = "stopped"

    # --- rounds ---------------------------------------------------------------------

    def _feed(self, event: round_events.Event) -> None:
        """Give the machine an event; what was answered before is answered again."""
        if isinstance(event, round_events.Reported | round_events.LateReported):
            known = self._store.update_log.transfer(event.round, event.device)
            if known is not None:
                self._intake.answer_again(event, known=known)
                return
        self._state, effects = rounds.step(self._state, event)
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: round_effects.Effect) -> None:
        match effect:
            case round_effects.Offer(number):
                self._tally.number = number
                offer = self._book.offer(effect, tip=self._line.tip)
                self._intake.open(offer)
                self._announcer.offer(offer)
                passed = round_events.DeadlinePassed(number)
                deadline_s = self._config.round.deadline_s
                self._patience.set_deadline(passed, after_s=deadline_s)
                self._show("collecting")
            case round_effects.Keep(update):
                self._store.keep_update(update)
                self._show(self._phase)
            case round_effects.Acknowledge(number, device, transfer, reason):
                if reason is not Reason.ACCEPTED:
                    self._intake.count(reason)
                self._intake.answer(device, UpdateReceipt(number, transfer, reason))
            case round_effects.Close(number, taken, outstanding):
                self._store.begin_merge(number, taken)
                self._collect_no_more(outstanding)
            case round_effects.Merge(number):
                self._merge_due = number
                self._show("merging")
            case round_effects.Announce(number):
                self._after_merge(number)
            case round_effects.Withdraw() | round_effects.GiveUp():
                self._fail(effect)

    def _collect_no_more(self, outstanding: frozenset[str]) -> None:
        self._intake.close()
        self._intake.occupied(outstanding, busy=True)
        self._patience.lift_deadline()

    def _absent(self) -> frozenset[str]:
        """Return who is missed; nobody while we would not hear of their return."""
        online = self._intake.registry.online
        return missed(self._state, online=online) if self._connected else frozenset()

    def _wait_no_longer(self, number: int, device: str) -> None:
        if number == self._tally.number and device in self._absent():
            told = "round %d no longer waits for %s: offline for %g s"
            _log.warning(told, number, device, self._patience.grace_s)
            self._feed(round_events.Declined(number, device))

    def _invite(self) -> None:
        """Begin the next round when enough devices are there, or let some join it."""
        idle = isinstance(self._state, Waiting | Failed)
        if idle and (self._ending or self._patience.pausing):
            return
        event = self._invitations.due(
            self._state,
            self._intake.registry,
            number=self._tally.number + 1,
            version=self.version,
        )
        if event is None:
            return
        if told := self._invitations.told(self._intake.registry, self._tally.number):
            self._line.standardize(told)
            self._distribution.offer(self._line.tip.blobs)
        self._feed(event)
        if told:  # nothing of it need stay with the broker
            self._announcer.greet(self._info())

    def _after_merge(self, number: int) -> None:
        self._distribution.offer(self._line.tip.blobs)
        self._tally.merged(self._close(number))
        self._ending = self._ending or self._tally.ending(self.version)
        self._show("waiting")

    def _fail(self, effect: round_effects.Withdraw | round_effects.GiveUp) -> None:
        self._book.failed(effect, refused=self._intake.take_refused())
        if isinstance(effect, round_effects.GiveUp):
            for one in effect.taken:
                given = UpdateReceipt(one.round, one.transfer, Reason.ROUND_FAILED)
                self._intake.answer(one.device, given)
        else:
            self._collect_no_more(effect.outstanding)
        self._close(effect.round)
        self._show("failed")
        self._patience.pause(self._tally.failures)
        self._tally.failed()

    def _close(self, number: int) -> RoundRecord:
        """End round ``number``, whose outcome is in the store."""
        self._book.open = None
        self._announcer.clear(number)
        (record,) = self._store.rounds(last=1)
        _log.info("%s", round_line(record))
        return record

    # --- the store ------------------------------------------------------------------

    def _resume(self) -> None:
        """Take up where the store ends: after a start, or after trouble with it."""
        with self._mailer.holding(), self._store.together():
            found = self._book.read()
            self._tally.resume(found)
            self._distribution.offer(self._line.tip.blobs)
            self._show("waiting")
            self._feed(round_events.Resumed(found.state))
            self._ending = self._ending or self._tally.ending(self.version)
        self._follow_up()

    async def _ride_out(self, error: StorageError) -> None:
        """Do nothing for a while, then be as if killed and started again."""
        loop = asyncio.get_running_loop()
        while self._ending != "stopped":
            pause_s = self._trouble.met(error, at=loop.time())
            self._forget()
            self._phase = "storage trouble"
            self._announce_state()
            await self._merger.settled()
            await self._idle(pause_s)
            try:
                self._line.restore()
                self._resume()
            except StorageError as again:
                error = again
                continue
            await self._mailer.subscribe(self._intake.filters)
            if self._connected:
                self._greet()
            return

    def _forget(self) -> None:
        """Let go of everything that may not be as the store has it."""
        self._state = Waiting()
        self._book.open = None
        self._merge_due = None
        self._intake.forget()
        self._announcer.pause()
        self._patience.close()

    async def _idle(self, pause_s: float) -> None:
        """Let what happens meanwhile be lost, as on a server that is down."""
        try:
            async with asyncio.timeout(pause_s):
                while self._ending != "stopped":
                    self._notice(await self._inbox.next())
        except TimeoutError:
            pass

    # --- what the server says -------------------------------------------------------

    def _greet(self) -> None:
        """Say everything that is retained again: the broker may have lost it."""
        self._greeted = True
        self._intake.call_roll()
        self._patience.call_roll()
        self._announcer.greet(self._info())
        if self._book.open is not None:
            self._announcer.offer(self._book.open.offer)
        elif self._tally.number:
            self._announcer.clear(self._tally.number)
        self._show(self._phase)

    def _info(self) -> ServerInfo:
        return server_info(
            self._config,
            self._artifact,
            block_bytes=self._block_bytes,
            channels=self._invitations.channels(self._tally.number),
        )

    def _show(self, phase: Phase) -> None:
        """Let people see ``phase``, once all that arrived with it is handled."""
        self._phase = phase
        self._state_changed = True

    def _announce_state(self) -> None:
        self._state_changed = False
        shown = server_state(
            self._phase,
            self._state,
            tally=self._tally,
            version=self.version,
            devices=len(self._invitations.eligible(self._intake.registry)),
            offer=self._book.open.offer if self._book.open else None,
            refused=self._intake.counts(),
            ending=self._ending,
        )
        self._announcer.state(shown)
