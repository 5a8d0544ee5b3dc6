"""The shell around ``session``: events in, effects out, nothing decided here.

A new state is in the journal before its effects run, so that a restart goes on where
this process ends, however it ends. One task reads the link; work for the current round
is one task that ``Stop`` cancels; everything else published is a chore nobody waits
for. What the network sends and is not what it must be is dropped, counted by reason,
and life goes on.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import astuple
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Final

from edge_agent.chores import Chores
from edge_agent.conditions import Hindrance, hindrance, readings, too_few
from edge_agent.config import AgentConfig
from edge_agent.connection import Connection
from edge_agent.examples import ExampleStore
from edge_agent.faults import is_fatal, reason_of
from edge_agent.fetching import Fetcher
from edge_agent.greeting import Greeting
from edge_agent.inbox import filters, receipt_event, round_event
from edge_agent.memory import Memory
from edge_agent.outbox import Outbox
from edge_agent.presence import Presence, busy_round, summary
from edge_agent.probe import Finding
from edge_agent.round_work import RoundWork
from edge_agent.session import (
    Abandon,
    BudgetSpent,
    Commit,
    Effect,
    Event,
    Failed,
    Fetch,
    Fetched,
    Fetching,
    FoldBack,
    Idle,
    Leaving,
    Nudge,
    OutboxLost,
    Outcome,
    Receipted,
    Report,
    State,
    Stop,
    Train,
    Trained,
    Training,
    resume,
    step,
    unrecorded,
)
from edge_agent.state_files import StateFiles, StorageError
from edge_agent.trainers.trainer import OpenTrainer, open_trainer
from wire_protocol.blobs import Need
from wire_protocol.envelope import Seal, as_it_is
from wire_protocol.errors import DecodeError, EdgefedError, Reason, TransportError
from wire_protocol.framing import expect, frame
from wire_protocol.link import Connected, Disconnected, Link, LinkEvent, Received
from wire_protocol.messages import Abandoned, RoundOffer
from wire_protocol.topics import Topics

if TYPE_CHECKING:
    from edge_agent.renewal import Renewal
    from edge_agent.sources.feed import Feed

log = logging.getLogger(__name__)

FAREWELL_S: Final = 2.0
_SYSTEM_JITTER: Final = SystemRandom().random


class Service:
    """One agent on one link.

    Everything that happens goes through ``_happen``, everything that is done about it
    through ``_perform``. Cancelling ``run`` is like pulling the plug: nothing is said
    or written any more.
    """

    def __init__(
        self,
        link: Link,
        *,
        config: AgentConfig,
        store: ExampleStore,
        runtime: Finding,
        feed: "Feed | None" = None,
        files: StateFiles | None = None,
        jitter: Callable[[], float] = _SYSTEM_JITTER,
        clock: Callable[[], float] = time.monotonic,
        open_trainer: OpenTrainer = open_trainer,
        look: Callable[[], Hindrance | None] | None = None,
        seal: Seal = as_it_is,
        renewal: "Renewal | None" = None,
    ) -> None:
        self._link = link
        self._device = config.agent.device
        self._topics = Topics(config.agent.fleet)
        self._files = files or StateFiles(config.agent.state_dir)
        self._memory = Memory(self._files)
        self._fetcher = Fetcher(
            link,
            topics=self._topics,
            device=self._device,
            parts=self._files.folder / "parts",
            jitter=jitter,
        )
        self._work = RoundWork(
            self._fetcher,
            memory=self._memory,
            files=self._files,
            settings=config.agent,
            store=store,
            runtime=runtime,
            clock=clock,
            seal=partial(seal, self._topics.device(self._device, "up")),
            open_trainer=open_trainer,
        )
        self._renewal = renewal
        self._presence = Presence(
            link,
            topics=self._topics,
            device=self._device,
            runtime=runtime,
            store=store,
        )
        self._store = store
        self._feed = feed
        self._look = look or (
            lambda: hindrance(readings(self._files.folder), config.conditions)
        )
        self._state: State = Idle()
        self._greeting = Greeting(link, topics=self._topics)
        self._outbox = Outbox(
            link, topics=self._topics, device=self._device, jitter=jitter
        )
        self._connection = Connection(device=self._device, clock=clock)
        self._task: asyncio.Task[None] | None = None
        self._budget: asyncio.TimerHandle | None = None
        self._chores = Chores(on_defect=self._break_off)
        self._stop = asyncio.Event()
        self._fatal: Exception | None = None
        self._dropped: Counter[Reason] = Counter()

    @property
    def dropped(self) -> Counter[Reason]:
        """Messages that were thrown away, by reason."""
        return self._dropped + self._fetcher.dropped

    @property
    def _written_bytes(self) -> int:
        return self._files.written_bytes + self._fetcher.bytes_written

    async def run(self, stop: asyncio.Event) -> None:
        """Take part in rounds until ``stop`` is set, by the caller or a fatal error.

        Raises:
            ConfigError: The fleet's model does not take the local examples.
        """
        self._stop = stop
        for topic_filter in (
            *(self._feed.topics if self._feed else ()),
            *filters(self._topics, self._device),
        ):
            try:
                await self._link.subscribe(topic_filter)
            except TransportError as error:  # the link tries again on reconnection
                log.warning("%s", error)
        reading = self._chores.begin(self._read())
        reading.add_done_callback(lambda _: self._stop.set())
        feeding = self._feed and self._chores.begin(self._feed.run(self._tell_examples))
        try:
            self._resume()
            await self._stop.wait()
            reading.cancel()
            if self._feed and feeding:
                feeding.cancel()
                self._feed.close()
            await self._say_farewell()
        finally:
            if self._budget is not None:
                self._budget.cancel()
            await self._chores.cancel()
            self._work.close()
        if self._fatal is not None:
            raise self._fatal

    async def _say_farewell(self) -> None:
        self._happen(Leaving())
        written = self._written_bytes
        self._chores.begin(self._presence.tell_cost(self._state, written_bytes=written))
        await self._chores.wait(timeout_s=FAREWELL_S)
        sent, received = astuple(self._link.traffic)
        log.info("bytes: %d sent, %d received, %d written", sent, received, written)

    def _resume(self) -> None:
        """Go on where the journal says that a former process was."""
        state = self._memory.record.state
        if isinstance(state, Training) and not self._work.holds_model(state.offer):
            state = Fetching(state.offer)
        self._state = state
        for effect in resume(state):
            log.info("going on: %s", type(state).__name__.lower())
            self._perform(effect)

    # --- events ---------------------------------------------------------------

    def _tell_examples(self) -> None:
        """Tell the server when there are many more examples, or fewer."""
        if self._presence.has_news and self._connection.up:
            self._chores.begin(self._presence.check_in(self._state))

    async def _read(self) -> None:
        async for event in self._link.events():
            self._take(event)

    def _take(self, event: LinkEvent) -> None:
        match event:
            case Connected(conn, protocol, max_packet_bytes):
                log.info("connected to the broker (MQTT %s)", protocol)
                self._outbox.max_packet_bytes = max_packet_bytes
                self._fetcher.reconnected()
                self._presence.conn = conn
                self._connection.began()
                self._chores.begin(self._greet(online=True))
                if self._state != Idle():  # the broker may have kept an older one
                    self._chores.begin(self._presence.tell_state(self._state))
            case Disconnected(reason):
                self._connection.ended(reason)
            case Received(topic, payload, retained):
                try:
                    self._receive(topic, payload, retained=retained)
                except DecodeError as error:
                    self._dropped[error.reason] += 1
                    log.warning("dropped a message on %s: %s", topic, error)

    def _receive(  # noqa: C901 - a case for each
        self, topic: str, payload: bytes, *, retained: bool
    ) -> None:
        if self._feed is not None and topic in self._feed.topics:
            self._feed.receive(topic, payload, retained)
            return
        match self._topics.levels(topic):
            case ("blob", _, "b", _) | ("blob", _, "m"):
                self._fetcher.receive(payload)
            case ("round", number):
                self._happen(round_event(number, payload, device=self._device))
            case ("d", self._device, "cmd", "receipt"):
                receipt = receipt_event(payload)
                if receipt.reason is not Reason.ACCEPTED:
                    log.warning(
                        "round %d: the server says %s", receipt.round, receipt.reason
                    )
                self._happen(receipt)
            case ("d", self._device, "cmd", "need"):
                self._outbox.take(expect(Need, payload)[0])
            case ("d", self._device, "cmd", "renew" | "certificate") if self._renewal:
                self._renewal.receive(payload, begin=self._chores.begin)
            case ("d", self._device, "availability"):
                # the will of an earlier connection came after we were back
                if payload == b"offline" and not retained and self._connection.up:
                    self._chores.begin(self._presence.say_online())
            case ("server", "info"):
                self._presence.channels = self._greeting.receive(payload).channels
                # a server that greets may have forgotten us, or taken us for offline
                self._chores.begin(self._greet(online=not retained))
            case _:
                raise DecodeError("nothing is expected on this topic")

    async def _greet(self, *, online: bool) -> None:
        """Check in; to who is new here say all that may have been forgotten."""
        beginnings = self._outbox.beginnings
        if online:
            await self._presence.say_online()
        await self._presence.check_in(self._state)
        if online and beginnings == self._outbox.beginnings:
            self._outbox.nudge()

    def _happen(self, event: Event) -> None:
        before = self._state
        outcome = step(before, event)
        if outcome != (before, ()):
            outcome = self._recorded(before, outcome)
        self._state, effects = outcome
        for effect in effects:
            self._perform(effect)
        if summary(self._state) != summary(before):
            written = self._written_bytes
            self._chores.begin(self._presence.tell(self._state, written_bytes=written))
        # by a receipt, or by our giving up, the server knows that we are free again
        told = isinstance(event, Receipted) or any(
            isinstance(effect, Abandon) for effect in effects
        )
        over = busy_round(before) and not busy_round(self._state)
        if over and (not told or self._presence.has_news):
            self._chores.begin(self._presence.check_in(self._state))

    def _recorded(self, before: State, outcome: Outcome) -> Outcome:
        """Write the new state down; return what can be done if that fails."""
        try:
            self._memory.save(*outcome)
        except StorageError as error:
            log.error("%s", error)  # noqa: TRY400 - expected
            outcome = unrecorded(before, outcome)
            self._memory.remember(outcome[0])
        return outcome

    # --- effects --------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:  # noqa: C901 - a case for each
        """Start ``effect``; its outcome is a later event."""
        match effect:
            case Fetch(offer):
                self._count(offer)
                self._task = self._chores.begin(self._try(offer, self._fetch))
            case Train(offer):
                self._count(offer)
                self._task = self._chores.begin(self._try(offer, self._train))
            case Report(number, transfer):
                self._task = self._chores.begin(self._report(number, transfer))
            case Nudge():
                self._outbox.nudge()
            case Stop():
                if self._task is not None:
                    self._task.cancel()
                if self._budget is not None:
                    self._budget.cancel()
                    self._budget = None
            case Commit(number):
                log.info("round %d: the update counts", number)
            case FoldBack(number):
                log.info("round %d: the update goes into the next", number)
            case Abandon(number, reason):
                self._chores.begin(self._abandon(number, reason))

    def _count(self, offer: RoundOffer) -> None:
        """Count the round's budget, from the first effect that needs it."""
        if self._budget is None:
            self._budget = asyncio.get_running_loop().call_later(
                offer.budget_s, self._happen, BudgetSpent(offer.round)
            )

    async def _try(
        self, offer: RoundOffer, work: Callable[[RoundOffer], Awaitable[Event]]
    ) -> None:
        """Do a part of the round's work; what it ends with happens."""
        try:
            event = await work(offer)
        except EdgefedError as error:
            log.error("round %d: %s", offer.round, error)  # noqa: TRY400 - expected
            event = Failed(offer.round, reason_of(error))
            if is_fatal(error):
                self._break_off(error)
        self._happen(event)

    async def _fetch(self, offer: RoundOffer) -> Event:
        found = self._look() or too_few(self._store)
        if found is not None:
            log.warning("round %d: left to others: %s", offer.round, found.text)
            return Failed(offer.round, found.reason)
        await self._work.fetch(offer, info=self._greeting.info)
        return Fetched(offer.round)

    async def _train(self, offer: RoundOffer) -> Event:
        if not self._work.is_ready(offer):  # after a restart
            await self._work.fetch(offer, info=self._greeting.info)
        return Trained(offer.round, await self._work.train(offer))

    async def _report(self, round_id: int, transfer: str) -> None:
        try:
            update = self._memory.update(transfer)
        except DecodeError as error:
            log.error("round %d: %s", round_id, error)  # noqa: TRY400 - expected
            self._memory.forget_update()
            self._happen(OutboxLost(round_id, transfer))
            return
        await self._outbox.send(update, info=await self._greeting.info())

    async def _abandon(self, round_id: int, reason: Reason) -> None:
        topic = self._topics.device(self._device, "evt")
        await self._link.publish(topic, frame(Abandoned(round_id, reason)))

    def _break_off(self, error: Exception) -> None:
        """End loudly: people must act, or there is a defect."""
        self._fatal = error
        self._stop.set()
