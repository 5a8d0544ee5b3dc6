"""The shell around ``session``: events in, effects out, nothing decided here.

One task reads the link; work for the current round is one task that ``Stop`` cancels;
everything else published is a chore nobody waits for. What the network sends and is
not what it must be is dropped, counted by reason, and life goes on.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from random import SystemRandom
from typing import Any, Final

from edge_agent.config import AgentConfig
from edge_agent.examples import ExampleStore, MisfitError
from edge_agent.fetching import Fetcher
from edge_agent.probe import Finding
from edge_agent.reporting import state_note, telemetry_note
from edge_agent.round_work import RoundWork, SelfTestError
from edge_agent.sending import Sender
from edge_agent.session import (
    Abandon,
    BudgetSpent,
    Commit,
    Effect,
    Event,
    Failed,
    Fetch,
    Fetched,
    FoldBack,
    Idle,
    Leaving,
    Offered,
    Receipted,
    Report,
    RoundClosed,
    State,
    Stop,
    Train,
    Trained,
    step,
)
from wire_protocol.blobs import Need
from wire_protocol.codecs import CODECS
from wire_protocol.cutting import blob_ref, block_bytes_within, transfer_id
from wire_protocol.errors import DecodeError, EdgefedError, Reason, TransportError
from wire_protocol.framing import expect, frame
from wire_protocol.link import (
    Connected,
    Disconnected,
    Link,
    LinkEvent,
    LinkSettings,
    Received,
    Will,
)
from wire_protocol.messages import (
    Abandoned,
    CheckIn,
    RoundOffer,
    ServerInfo,
    UpdateReceipt,
)
from wire_protocol.part_files import DiskFullError
from wire_protocol.topics import Topics

log = logging.getLogger(__name__)

ASK_AGAIN_S: Final = 1.0
FAREWELL_S: Final = 2.0
BRIEF_S: Final = 5.0
"""A connection that ends sooner was probably taken over by a device of our name."""
_SYSTEM_JITTER: Final = SystemRandom().random


def link_settings(config: AgentConfig) -> LinkSettings:
    """Return how this agent connects, its last will included."""
    fleet, device = config.agent.fleet, config.agent.device
    return LinkSettings(
        config.broker.host,
        config.broker.port,
        identity=f"edgefed-{fleet}-{device}",
        protocol=config.broker.protocol,
        will=Will(Topics(fleet).device(device, "availability"), b"offline"),
    )


class Service:
    """One agent on one link."""

    def __init__(
        self,
        link: Link,
        *,
        config: AgentConfig,
        store: ExampleStore,
        runtime: Finding,
        jitter: Callable[[], float] = _SYSTEM_JITTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._device = config.agent.device
        self._topics = Topics(config.agent.fleet)
        self._store = store
        self._runtime = runtime
        self._jitter = jitter
        self._fetcher = Fetcher(
            link,
            topics=self._topics,
            device=self._device,
            parts=config.agent.state_dir.absolute() / "parts",
            jitter=jitter,
        )
        self._sender: Sender | None = None
        self._max_packet_bytes: int | None = None
        self._work = RoundWork(
            self._fetcher,
            settings=config.agent,
            store=store,
            runtime=runtime,
            clock=clock,
        )
        self._state: State = Idle()
        self._info: ServerInfo | None = None
        self._informed = asyncio.Event()
        self._conn = 0
        self._since = 0.0
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._budget: asyncio.TimerHandle | None = None
        self._chores: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._fatal: Exception | None = None
        self._dropped: Counter[Reason] = Counter()

    @property
    def dropped(self) -> Counter[Reason]:
        """Messages that were thrown away, by reason."""
        return self._dropped + self._fetcher.dropped

    async def run(self, stop: asyncio.Event) -> None:
        """Take part in rounds until ``stop`` is set, by the caller or a fatal error.

        Raises:
            ConfigError: The fleet's model does not take the local examples, or the
                state folder cannot be written.
        """
        self._stop = stop
        for topic_filter in (
            self._topics.server_info,
            self._topics.round("+"),
            self._topics.device(self._device, "cmd", "receipt"),
            self._topics.device(self._device, "cmd", "need"),
        ):
            try:
                await self._link.subscribe(topic_filter)
            except TransportError as error:  # the link tries again on reconnection
                log.warning("%s", error)
        reader = asyncio.create_task(self._read())
        reader.add_done_callback(self._ended)
        reader.add_done_callback(lambda _: self._stop.set())
        try:
            await self._stop.wait()
        finally:
            reader.cancel()
            self._happen(Leaving())
            self._note(telemetry_note(self._link, round_id=None), "telemetry")
            if self._chores:
                await asyncio.wait(self._chores, timeout=FAREWELL_S)
            for chore in self._chores:
                chore.cancel()
            self._work.close()
        if self._fatal is not None:
            raise self._fatal

    # --- events ---------------------------------------------------------------

    async def _read(self) -> None:
        async for event in self._link.events():
            self._take(event)

    def _take(self, event: LinkEvent) -> None:
        match event:
            case Connected(conn, protocol, max_packet_bytes):
                log.info("connected to the broker (MQTT %s)", protocol)
                self._max_packet_bytes = max_packet_bytes
                self._fetcher.reconnected()
                if self._sender is not None:
                    self._sender.nudge()
                self._conn = conn
                self._since = self._clock()
                self._begin(self._check_in(online=True))
            case Disconnected(reason):
                log.warning("no broker: %s%s", reason, self._rival())
            case Received(topic, payload, retained):
                try:
                    self._receive(topic, payload, retained=retained)
                except DecodeError as error:
                    self._dropped[error.reason] += 1
                    log.warning("dropped a message on %s: %s", topic, error)

    def _rival(self) -> str:
        """Hint at the likeliest cause when connections end as soon as they begin."""
        if self._conn < 2 or self._clock() - self._since > BRIEF_S:
            return ""
        return f" (is another agent running as {self._device!r}?)"

    def _receive(self, topic: str, payload: bytes, *, retained: bool) -> None:
        match self._topics.levels(topic):
            case ("blob", _, "b", _) | ("blob", _, "m"):
                self._fetcher.receive(payload)
            case ("round", number):
                self._round(number, payload)
            case ("d", self._device, "cmd", "receipt"):
                receipt, _ = expect(UpdateReceipt, payload)
                if receipt.reason is not Reason.ACCEPTED:
                    log.warning(
                        "round %d: the server says %s", receipt.round, receipt.reason
                    )
                self._happen(Receipted(receipt.round, receipt.transfer, receipt.reason))
            case ("d", self._device, "cmd", "need"):
                if self._sender is not None:
                    self._sender.take(expect(Need, payload)[0])
            case ("server", "info"):
                self._info, _ = expect(ServerInfo, payload)
                self._informed.set()
                # a server that greets may have taken us for offline
                self._begin(self._check_in(online=not retained))
            case _:
                raise DecodeError("nothing is expected on this topic")

    def _round(self, number: str, payload: bytes) -> None:
        if not (number.isascii() and number.isdecimal() and len(number) <= 10):
            raise DecodeError(f"{number!r:.20} is no round")
        if not payload:
            self._happen(RoundClosed(int(number)))
            return
        offer, _ = expect(RoundOffer, payload)
        if offer.round != int(number):
            raise DecodeError(
                f"round {offer.round} offered on the topic of round {number}",
                reason=Reason.WRONG_ROUND,
            )
        self._happen(Offered(offer, invited=self._device in offer.cohort))

    def _happen(self, event: Event) -> None:
        before = self._state
        self._state, effects = step(before, event)
        for effect in effects:
            self._perform(effect)
        if type(self._state) is not type(before):
            self._announce()

    # --- effects --------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        """Start ``effect``; its outcome is a later event."""
        match effect:
            case Fetch(offer):
                self._budget = asyncio.get_running_loop().call_later(
                    offer.budget_s, self._happen, BudgetSpent(offer.round)
                )
                self._task = self._begin(self._fetch(offer))
            case Train(offer):
                self._task = self._begin(self._train(offer))
            case Report(_, update):
                self._task = self._begin(self._report(update))
            case Stop():
                if self._task is not None:
                    self._task.cancel()
                if self._budget is not None:
                    self._budget.cancel()
            case Commit(round_id):
                self._work.commit(round_id)
            case FoldBack(round_id):
                self._work.fold_back(round_id)
            case Abandon(round_id, reason):
                self._begin(self._abandon(round_id, reason))

    async def _fetch(self, offer: RoundOffer) -> None:
        try:
            await self._work.fetch(offer, info=await self._server_info())
        except DecodeError as error:
            fault = error.reason
            if fault is Reason.MALFORMED:
                fault = Reason.FETCH_FAILED
            self._fail(offer, fault, error)
        except DiskFullError as error:
            self._fail(offer, Reason.LOW_DISK, error)
        except SelfTestError as error:
            self._fail(offer, Reason.SELF_TEST_FAILED, error)
        except MisfitError as error:
            self._fatal = error
            self._fail(offer, Reason.WRONG_SCHEMA, error)
        except EdgefedError as error:
            self._fatal = error
            self._fail(offer, Reason.FETCH_FAILED, error)
        else:
            self._happen(Fetched(offer.round))

    async def _server_info(self) -> ServerInfo:
        """Wait for ``server_info``; asking for it anew, since brokers lose messages."""
        while self._info is None:
            try:
                async with asyncio.timeout(ASK_AGAIN_S):
                    await self._informed.wait()
            except TimeoutError:
                with contextlib.suppress(TransportError):
                    await self._link.subscribe(self._topics.server_info)  # retained
        return self._info

    async def _train(self, offer: RoundOffer) -> None:
        try:
            update = await self._work.train(offer)
        except EdgefedError as error:
            self._fail(offer, Reason.TRAINING_FAILED, error)
        else:
            transfer = transfer_id(blob_ref(update))
            self._happen(Trained(offer.round, transfer, update))

    async def _report(self, update: bytes) -> None:
        info = await self._server_info()
        self._sender = Sender(
            self._link,
            update,
            topics=self._topics,
            device=self._device,
            block_bytes=lambda: block_bytes_within(
                info.block_bytes, self._max_packet_bytes
            ),
            resend_s=info.resend_s,
            jitter=self._jitter,
        )
        await self._sender.run()

    async def _abandon(self, round_id: int, reason: Reason) -> None:
        topic = self._topics.device(self._device, "evt")
        await self._link.publish(topic, frame(Abandoned(round_id, reason)))

    async def _check_in(self, *, online: bool) -> None:
        me = CheckIn(
            conn=self._conn,
            runtime=self._runtime.label[:64],
            family=self._runtime.runtime.family,
            codecs=tuple(CODECS),
            num_examples=self._store.training.count,
        )
        if online:
            topic = self._topics.device(self._device, "availability")
            await self._link.publish(topic, b"online", retain=True)
        topic = self._topics.device(self._device, "info")
        await self._link.publish(topic, frame(me), retain=True)

    # --- the rest -------------------------------------------------------------

    def _fail(self, offer: RoundOffer, reason: Reason, error: EdgefedError) -> None:
        log.error("round %d: %s", offer.round, error)
        self._happen(Failed(offer.round, reason))
        if self._fatal is not None:
            self._stop.set()

    def _announce(self) -> None:
        """Tell people the new phase, and after a round what it cost."""
        state = self._state
        phase = type(state).__name__.lower()
        if isinstance(state, Idle):
            round_id = state.done.round if state.done else None
            self._note(telemetry_note(self._link, round_id=round_id), "telemetry")
        else:
            round_id = state.offer.round
        self._note(state_note(phase, round_id=round_id), "state", retain=True)

    def _note(self, payload: bytes, kind: str, *, retain: bool = False) -> None:
        topic = self._topics.device(self._device, kind)
        self._begin(self._link.publish(topic, payload, qos=0, retain=retain))

    def _begin(self, call: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(call)
        self._chores.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Forget a finished task; a defect in one ends the agent loudly."""
        self._chores.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, TransportError):
            log.debug("not sent: %s", error)
        elif isinstance(error, Exception):
            self._fatal = error
            self._stop.set()
