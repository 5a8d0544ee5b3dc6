"""The server's shell: events from link, timers and merges in, effects out.

``rounds.step`` decides; this module performs. Everything but the merge itself, which
runs in a thread, happens on the event loop, one event after the other, so that no
state needs a lock. What must last is stored before it is published.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from broker_server import patience, rounds
from broker_server.artifact import Artifact
from broker_server.clocks import Clocks
from broker_server.config import ServerConfig
from broker_server.convergence import Progress, has_converged, observe
from broker_server.model_line import ModelLine
from broker_server.open_round import OpenRound, invited, new_round
from broker_server.patience import Patience
from broker_server.publications import Phase, round_line, server_info, server_state
from broker_server.records import Cause, RoundRecord
from broker_server.recovery import recover
from broker_server.store import Store
from broker_server.wiring import wire
from wire_protocol.cutting import block_bytes_within
from wire_protocol.errors import DecodeError, EmptyRoundError, EncodeError, Reason
from wire_protocol.link import Connected, Disconnected, Link, LinkEvent, Received
from wire_protocol.messages import UpdateReceipt

Ending: TypeAlias = Literal["", "rounds", "converged", "stopped"]
_log = logging.getLogger("edgefed.server")


@dataclass(frozen=True, slots=True)
class _Stopped:
    """The server is told to end."""


_Happening: TypeAlias = LinkEvent | rounds.Event | patience.Wakeup | _Stopped


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
    ) -> None:
        self._config = config
        self._artifact = artifact
        self._store = store
        self._link = link
        self._clocks = clocks or Clocks()
        self._line = ModelLine(config, artifact, store)
        self._inbox: asyncio.Queue[_Happening] = asyncio.Queue()
        self._state: rounds.State = rounds.Waiting()
        self._open: OpenRound | None = None
        self._phase: Phase = "waiting"
        self._progress = Progress()
        self._last_merged: RoundRecord | None = None
        self._number = 0
        self._failures = 0
        self._patience = Patience(
            self._inbox.put_nowait, resend_s=config.server.resend_s
        )
        self._begun = self._greeted = self._state_changed = self._connected = False
        self._ending: Ending = ""
        self._block_bytes = config.server.block_bytes
        # Receipts of a round that an earlier run left open.
        self._answers_due: list[tuple[str, UpdateReceipt]] = []

    @property
    def version(self) -> int:
        """Newest version of the model."""
        return self._line.tip.model.version

    async def run(self, stop: asyncio.Event) -> Ending:
        """Hold rounds until the configured end, or until ``stop`` is set; say which."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            wiring = wire(
                self._config,
                self._link,
                group=group,
                store=self._store,
                clocks=self._clocks,
                size=self._artifact.manifest.layout.size,
            )
            mailer = wiring.mailer
            self._announcer, self._intake = wiring.announcer, wiring.intake
            self._distribution = wiring.distribution
            self._distribution.offer(self._line.tip.blobs)
            self._resume()
            await mailer.subscribe(self._intake.filters)
            tasks = [
                group.create_task(self._listen()),
                group.create_task(self._distribution.run()),
                group.create_task(self._await_stop(stop)),
            ]
            while not self._is_over():
                self._handle_all(await self._inbox.get())
            self._phase = "stopped" if self._ending == "stopped" else "finished"
            self._announce_state()
            self._patience.close()
            await mailer.drain()
            for task in tasks:
                task.cancel()
        return self._ending

    def _is_over(self) -> bool:
        """Whether nothing is left to do, nor to tell devices."""
        told = self._greeted or self._ending == "stopped"
        return bool(self._ending) and self._open is None and told

    async def _listen(self) -> None:
        async for event in self._link.events():
            self._inbox.put_nowait(event)

    async def _await_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._inbox.put_nowait(_Stopped())

    def _handle_all(self, first: _Happening) -> None:
        """Handle what has arrived by now; one transaction serves all of it.

        Nothing is sent meanwhile: the mailer's tasks cannot run before this returns.
        """
        with self._store.together():
            self._handle(first)
            for _ in range(self._inbox.qsize()):
                self._handle(self._inbox.get_nowait())
        self._patience.await_return(self._number, self._absent())
        if self._state_changed:
            self._announce_state()

    def _handle(self, happening: _Happening) -> None:
        match happening:
            case Received(topic, payload, retained):
                event = self._intake.receive(topic, payload, retained=retained)
                if event is not None:
                    self._feed(event)
            case Connected(_, protocol, max_packet_bytes):
                _log.info("connected to the broker with MQTT %s", protocol)
                self._block_bytes = block_bytes_within(
                    self._config.server.block_bytes, max_packet_bytes
                )
                self._distribution.recut(self._block_bytes)
                self._connected = True
                self._intake.call_roll()
                self._patience.call_roll()
                self._republish()
            case Disconnected(reason):
                _log.warning("no connection to the broker: %s", reason)
                self._connected = False
                self._patience.stop_roll_call()
            case patience.RollCallOver():
                self._intake.end_roll_call()
            case patience.GraceOver(number, device):
                self._wait_no_longer(number, device)
            case patience.PauseOver():
                self._patience.end_pause()
            case _Stopped():
                self._ending = "stopped"
                if self._open is not None:
                    self._feed(rounds.Interrupted(self._open.offer.round))
            case _:
                self._feed(happening)
        self._begin_if_ready()

    # --- rounds ---------------------------------------------------------------------

    def _feed(self, event: rounds.Event) -> None:
        self._state, effects = rounds.step(self._state, event)
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: rounds.Effect) -> None:
        match effect:
            case rounds.Offer(number):
                self._publish_offer(number)
                self._show("collecting")
            case rounds.Keep(number):
                update = self._intake.update
                assert update is not None  # Reported is fed as soon as it arises
                self._store.keep_update(number, update.participant, payload=update.blob)
                self._show("collecting")
            case rounds.Acknowledge(number, device, transfer, reason):
                if reason is not Reason.ACCEPTED:
                    self._intake.count(reason)
                self._intake.answer(device, UpdateReceipt(number, transfer, reason))
            case rounds.Merge(number):
                self._group.create_task(self._merge(number))
                self._show("merging")
            case rounds.Announce(number):
                self._close(number)
                self._after_merge()
            case rounds.Withdraw(number, reported, cause):
                self._withdraw(number, reported, cause=cause)

    def _absent(self) -> frozenset[str]:
        """Return who the round waits for though they are offline.

        Nobody while the server is: it would not hear of their return.
        """
        if not isinstance(self._state, rounds.Collecting) or not self._connected:
            return frozenset()
        return self._state.outstanding - self._intake.registry.online

    def _wait_no_longer(self, number: int, device: str) -> None:
        if number == self._number and device in self._absent():
            _log.warning(
                "round %d no longer waits for %s: offline for %g s",
                number,
                device,
                self._patience.grace_s,
            )
            self._feed(rounds.Declined(number, device))

    def _begin_if_ready(self) -> None:
        """Start the next round at once when enough devices are there."""
        idle = isinstance(self._state, rounds.Waiting | rounds.Failed)
        if not idle or self._ending or self._patience.pausing:
            return
        number = self._number + 1
        cohort = invited(
            self._config, self._eligible(), number=number, begun=self._begun
        )
        if not cohort:
            return
        self._begun = True
        self._number = number
        self._open = new_round(
            self._config,
            self._artifact,
            self._line.tip,
            number=number,
            cohort=cohort,
            began=self._clocks.steady(),
        )
        deadline_s = self._config.round.deadline_s
        self._patience.set_deadline(rounds.DeadlinePassed(number), after_s=deadline_s)
        self._feed(self._open.started)

    def _eligible(self) -> tuple[str, ...]:
        return self._intake.registry.eligible(
            families=self._artifact.families, codec=self._config.codec.uplink
        )

    def _publish_offer(self, number: int) -> None:
        assert self._open is not None  # Started is fed with its round
        offer = self._open.offer
        self._store.open_round(
            number,
            version=offer.version,
            cohort=offer.cohort,
            started=self._clocks.wall(),
        )
        self._intake.open(offer)
        self._announcer.offer(offer)

    async def _merge(self, number: int) -> None:
        assert self._open is not None  # closed by the outcome of this only
        began = self._open.began
        refused = self._intake.take_refused()
        try:
            tip = await asyncio.to_thread(
                self._line.merge,
                number,
                began=began,
                clocks=self._clocks,
                refused=refused,
            )
        except (EncodeError, DecodeError, EmptyRoundError) as error:
            _log.error("round %d cannot be merged: %s", number, error)
            self._intake.restore_refused(refused)
            self._intake.count(Reason.NOT_FINITE)
            self._inbox.put_nowait(rounds.MergeFailed(number))
        else:
            self._distribution.offer(tip.blobs)
            self._inbox.put_nowait(rounds.Merged(number))

    def _close(self, number: int) -> RoundRecord:
        """End round ``number``, whose outcome is in the store."""
        self._open = None
        self._patience.lift_deadline()
        self._intake.close()
        self._announcer.clear(number)
        (record,) = self._store.rounds(last=1)
        _log.info("%s", round_line(record))
        if record.outcome == "merged":
            self._last_merged = record
        return record

    def _after_merge(self) -> None:
        self._failures = 0
        if self._last_merged is not None:
            self._progress = observe(
                self._progress,
                self._last_merged.evaluation_loss,
                tolerance=self._config.convergence.tolerance,
            )
        self._end_if_done()
        self._show("waiting")

    def _withdraw(
        self, number: int, reported: Mapping[str, str], *, cause: Cause
    ) -> None:
        self._store.commit_failure(
            number,
            cause=cause,
            ended=self._clocks.wall(),
            seconds=self._clocks.steady() - self._open.began if self._open else None,
            refused=self._intake.take_refused(),
        )
        for device, transfer in reported.items():
            receipt = UpdateReceipt(number, transfer, Reason.ROUND_FAILED)
            self._intake.answer(device, receipt)
        self._close(number)
        self._show("failed")
        self._patience.pause(self._failures)
        self._failures += 1

    def _end_if_done(self) -> None:
        wanted = self._config.round.rounds
        if wanted and self.version >= wanted:
            self._ending = "rounds"
        elif has_converged(self._progress, patience=self._config.convergence.patience):
            self._ending = "converged"

    def _resume(self) -> None:
        """Take up where the store ends; a round that was open has failed."""
        tolerance = self._config.convergence.tolerance
        found = recover(self._store.rounds(), tolerance=tolerance)
        self._number, self._progress = found.number, found.progress
        self._last_merged = found.last_merged
        for device, receipt in found.receipts:
            self._intake.recall(device, receipt)
        if found.interrupted:
            self._answers_due = list(found.receipts)
            self._store.commit_failure(
                found.number,
                cause="stopped",
                ended=self._clocks.wall(),
                seconds=None,
                refused={},
            )
        self._end_if_done()

    # --- what the server says -------------------------------------------------------

    def _republish(self) -> None:
        """Say everything that is retained again: the broker may have lost it."""
        self._greeted = True
        self._announcer.greet(
            server_info(self._config, self._artifact, block_bytes=self._block_bytes)
        )
        if self._open is not None:
            self._announcer.offer(self._open.offer)
        elif self._number:
            self._announcer.clear(self._number)
        for device, receipt in self._answers_due:
            self._announcer.receipt(device, receipt)
        self._answers_due.clear()
        self._show(self._phase)

    def _show(self, phase: Phase) -> None:
        """Let people see ``phase``, once all that arrived with it is handled."""
        self._phase = phase
        self._state_changed = True

    def _announce_state(self) -> None:
        self._state_changed = False
        shown = server_state(
            self._phase,
            self._state,
            number=self._number,
            version=self.version,
            devices=len(self._eligible()),
            offer=self._open.offer if self._open else None,
            last_merged=self._last_merged,
            refused=self._intake.counts(),
            reason=self._ending if self._phase in ("finished", "stopped") else "",
        )
        self._announcer.state(shown)
