"""A tiny federation in memory whose members can be killed and started again.

Everything but the trainer's arithmetic and the broker is real: machines, shells,
journals, the store. Its clock is the loop's, so run it with ``run_virtually``.
"""

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from broker_server import service as server_service
from broker_server.artifact import load_artifact
from broker_server.clocks import Clocks
from broker_server.config import (
    ModelSection,
    PlanSection,
    RoundSection,
    ServerConfig,
    ServerSection,
)
from broker_server.store import Store
from edge_agent import service as agent_service
from edge_agent.config import AgentConfig, DeviceSettings
from edge_agent.data_settings import DataSettings
from edge_agent.examples import ExampleStore
from edge_agent.presence import link_settings
from edge_agent.state_files import StateFiles
from tests.edge_agent.agents import finding
from tests.fakes import MemoryBroker
from tests.scenarios.disturbance import OVERDUE_S, Case, Disturbance
from tests.scenarios.tiny_model import (
    open_tiny_trainer,
    pass_self_test,
    write_tiny_artifact,
    write_tiny_examples,
)
from wire_protocol.atomic_file import write_atomically
from wire_protocol.link import Will
from wire_protocol.topics import Topics

TOPICS: Final = Topics("home")
DEVICES: Final = ("a", "b", "c")
SEED: Final = 3
VICTIM: Final = "b"
AWAY_S: Final = 0.7
"""How long a killed member stays away."""
OUTAGE_S: Final = 600.0
WITHIN_S: Final = 4000.0


class KilledError(Exception):
    """Ends a server as SIGKILL would: nothing more is said or stored."""


class Federation:
    """One server and three devices; ``case`` is what happens to one of them."""

    def __init__(
        self, folder: Path, *, case: Case | None, rounds: RoundSection
    ) -> None:
        self.folder = folder
        self.broker = MemoryBroker()
        self.kills = 0
        self._artifact = write_tiny_artifact(folder / "tiny")
        self._config = ServerConfig(
            server=ServerSection(folder / "server", resend_s=0.5, seed=SEED),
            model=ModelSection("tiny"),
            round=rounds,
            plan=PlanSection(epochs=3, learning_rate=0.2),
        )
        self._first_connection = dict.fromkeys(DEVICES, 1)
        self._members: dict[str, asyncio.Task[Any]] = {}
        self._returning: set[asyncio.Task[None]] = set()
        self._failing_writes = 0
        self.disturbance: Disturbance[Any] | None = None
        if case is not None:
            kill, fail = (
                (self._kill_agent, self._fail_agent)
                if case.machine == "device"
                else (self._kill_server, self._fail_server)
            )
            self.disturbance = Disturbance(
                case, kill=kill, fail=fail, lose_broker=self._lose_broker
            )

    async def run(self) -> None:
        """Let everybody in, and wait until the server has ended by itself."""
        for number, device in enumerate(DEVICES):
            home = self.folder / device
            pass_self_test(home / "state", self._artifact)
            write_tiny_examples(home / "examples.npz", seed=number)
        try:
            async with asyncio.timeout(WITHIN_S):
                self._start("server")
                for device in DEVICES:
                    self._start(device)
                while True:
                    server = self._members["server"]
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait({server})
                    if server is self._members["server"] and self._ended(server):
                        return
                    await asyncio.sleep(AWAY_S)
        finally:
            everybody = {*self._members.values(), *self._returning}
            for task in everybody:
                task.cancel()
            await asyncio.gather(*everybody, return_exceptions=True)

    @staticmethod
    def _ended(server: asyncio.Task[Any]) -> bool:
        if server.cancelled():
            return False
        error = server.exception()
        if error is not None and not _is_kill(error):
            raise error
        return error is None

    def _start(self, member: str) -> None:
        main = self._serve() if member == "server" else self._take_part(member)
        self._members[member] = asyncio.create_task(main, name=member)

    def _return_later(self, member: str) -> None:
        self.kills += 1

        async def wait() -> None:
            await asyncio.wait({self._members[member]})
            await asyncio.sleep(AWAY_S)
            self._start(member)

        self._returning.add(asyncio.create_task(wait()))

    def _lose_broker(self) -> None:
        """Let the broker die with all that it kept, and come back much later."""
        self.broker.forget()
        for link in self.broker.links:
            asyncio.get_running_loop().call_later(OUTAGE_S, link.restore)

    # --- the server -----------------------------------------------------------------

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        store = Store.open(self._config.server.state_dir)
        self._store = store
        link = self.broker.link(will=Will(TOPICS.server_availability, b"offline"))
        try:
            async with link:
                service = _MortalServer(
                    self._config,
                    load_artifact(self._artifact),
                    store=store,
                    link=link,
                    clocks=Clocks(wall=loop.time, steady=loop.time),
                )
                service.disturbance = (
                    self.disturbance if self._watches("server") else None
                )
                await service.run(asyncio.Event())
        finally:
            self.broker.links.remove(link)
            store.close()

    def _kill_server(self) -> None:
        self._return_later("server")
        raise KilledError

    def _fail_server(self, effect: Any) -> None:
        """Let what the effect does fail: the disk is full, or the broker loses it."""
        if type(effect).__name__ in STORING:
            self._fill_store()
        else:
            lost: list[str] = []

            def loses(topic: str) -> bool:
                mine = "/round/" in topic or topic.endswith("/cmd/receipt")
                if mine and not lost:
                    lost.append(topic)
                    return True
                return False

            self.broker.loses = loses

    def _fill_store(self) -> None:
        """Let SQLite run out of room, for some seconds."""
        limit_pages(self._store, full=True)
        asyncio.get_running_loop().call_later(
            3 * AWAY_S, limit_pages, self._store, False
        )

    # --- devices --------------------------------------------------------------------

    async def _take_part(self, device: str) -> None:
        home = self.folder / device
        config = AgentConfig(
            DeviceSettings(device, home / "state"),
            DataSettings(home / "examples.npz", seed=1),
        )
        store = ExampleStore.load(home / "examples.npz", holdout=0.2, seed=1)
        first = self._first_connection[device]
        self._first_connection[device] += 1 << 20
        settings = link_settings(config, first_connection=first)
        link = self.broker.link(will=settings.will, first_connection=first)
        loop = asyncio.get_running_loop()
        try:
            async with link:
                service = _MortalAgent(
                    link,
                    config=config,
                    store=store,
                    runtime=finding(),
                    files=StateFiles(
                        config.agent.state_dir, replace_file=self._replace_file
                    ),
                    jitter=lambda: 0.5,
                    clock=loop.time,
                    open_trainer=open_tiny_trainer,
                    look=lambda: None,
                )
                if device == VICTIM:
                    service.disturbance = (
                        self.disturbance if self._watches("device") else None
                    )
                    service.fail_record = self._fail_record
                    self._victim_link = link
                await service.run(asyncio.Event())
        finally:
            self.broker.links.remove(link)

    def _kill_agent(self) -> None:
        self._return_later(VICTIM)
        self._victim_link.cut()
        self._members[VICTIM].cancel()

    def _fail_agent(self, effect: Any) -> None:
        """Let what the effect does fail: the disk, the runtime, or the connection."""
        kind = type(effect).__name__
        if kind == "Train":
            self._failing_writes = 1  # the first checkpoint's
        else:
            link = self._victim_link
            link.cut()
            asyncio.get_running_loop().call_later(3 * AWAY_S, link.restore)

    def _fail_record(self) -> None:
        self._failing_writes = 1

    def _replace_file(self, path: Path, *parts: Any) -> None:
        if self._failing_writes and f"/{VICTIM}/" in str(path):
            self._failing_writes -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        write_atomically(path, *parts)

    def _watches(self, machine: str) -> bool:
        return self.disturbance is not None and self.disturbance.case.machine == machine


STORING: Final = frozenset({"Keep", "Close", "Merge"})


def _is_kill(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KilledError) is not None
    return isinstance(error, KilledError)


def limit_pages(store: Store, full: bool) -> None:
    """Give SQLite no more pages than it has, or as many as it likes."""
    database = store._db
    (pages,) = database.one("PRAGMA page_count")
    database.one(f"PRAGMA max_page_count = {pages if full else 1 << 30}")


class _MortalAgent(agent_service.Service):
    """The real agent, through whose two funnels a disturbance looks."""

    disturbance: Disturbance[Any] | None = None
    fail_record: Callable[[], None]

    def _recorded(self, before: Any, outcome: Any) -> Any:
        if self.disturbance and self.disturbance.strikes_record(outcome[1]):
            self.fail_record()
        return super()._recorded(before, outcome)

    def _happen(self, event: Any) -> None:
        _pass_on(self.disturbance, event, super()._happen)

    def _perform(self, effect: Any) -> None:
        if self.disturbance is None:
            super()._perform(effect)
        else:
            self.disturbance.around(effect, super()._perform)


class _MortalServer(server_service.Service):
    """The real server, likewise."""

    disturbance: Disturbance[Any] | None = None

    def _feed(self, event: Any) -> None:
        _pass_on(self.disturbance, event, super()._feed)

    def _perform(self, effect: Any) -> None:
        if self.disturbance is None:
            super()._perform(effect)
        else:
            self.disturbance.around(effect, super()._perform)


def _pass_on(
    disturbance: Disturbance[Any] | None, event: Any, take: Callable[[Any], None]
) -> None:
    if disturbance is None:
        take(event)
        return
    for one in disturbance.on_event(event):
        take(one)

    def deliver_overdue() -> None:
        for held in disturbance.overdue():
            take(held)

    asyncio.get_running_loop().call_later(OVERDUE_S, deliver_overdue)
