"""Staging: everything a federation needs before its server and agents begin."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from broker_server.embedded_broker import find_mosquitto, mosquitto_conf
from edge_agent.runtimes import runtime_named
from tools.chaos.arena import Arena
from tools.chaos.clocks import MISSING, FalseClock, find_library
from tools.chaos.conditions import DEADLINE_S, Conditions
from tools.chaos.disks import SmallDisk
from tools.chaos.heavy_artifact import grow_artifact
from tools.chaos.leftovers import free_port
from tools.chaos.outcome import Fault
from tools.chaos.plan import ChaosPlan
from tools.chaos.processes import Process
from tools.chaos.proxy import LOOPBACK, Proxy
from tools.chaos.witness import eager_link, witness
from tools.demo.children import Children, edgefed_command
from tools.demo.demo import Subject
from tools.demo.fleet_state import FleetState, observed_topics
from tools.demo.observer import Observer
from tools.demo.workspace import FLEET, Section, Workspace
from wire_protocol.errors import ConfigError, RefusedError
from wire_protocol.manifest import Manifest
from wire_protocol.topics import Topics

_ACCEPTS_S: Final = 10.0
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Staging:
    """What an arena is made of.

    ``round_s`` is what a round usually takes; ``rng`` is the scenario's.
    """

    workspace: Workspace
    subject: Subject
    plan: ChaosPlan
    conditions: Conditions
    rounds: int
    round_s: float
    rng: Random

    @property
    def logs(self) -> Path:
        """Folder of everybody's logs."""
        return self.workspace.folder / "logs"

    @property
    def artifact(self) -> Path:
        """Folder of the artifact that the server offers."""
        if self.conditions.artifact_bytes:
            return self.workspace.folder / "artifact"
        return self.subject.artifact

    def artifact_bytes(self) -> int:
        """Return the size of the files that all devices together must get."""
        raw = (self.artifact / "manifest.json").read_bytes()
        manifest = Manifest.from_json(raw)
        return sum(
            file.size
            for device in self.workspace.devices
            for file in manifest.family_files(
                runtime_named(device.runtime).family
            ).values()
        )

    @contextlib.asynccontextmanager
    async def arena(
        self,
        children: Children,
        *,
        tell: Callable[[Fault], None],
        show: Callable[[FleetState], None],
    ) -> AsyncIterator[Arena]:
        """Start the broker and who watches it; server and agents wait for their call.

        Raises:
            ConfigError: mosquitto or libfaketime is not installed.
            RefusedError: The broker did not start, or a small disk cannot be had.
        """
        self.logs.mkdir()
        disks = await self._disks(children)
        clock = self._clock()
        port = free_port()
        async with contextlib.AsyncExitStack() as stack:
            broker = self._broker(children, port, clock)
            stack.callback(broker.abandon)
            await _accepts(port, broker)
            proxies = await self._proxies(stack, port)
            self._configure(port, proxies)
            topics = Topics(FLEET)
            link = await stack.enter_async_context(
                eager_link(port, identity="observer")
            )
            for topic in observed_topics(topics):
                await link.subscribe(topic)
            observer = Observer(
                link,
                topics,
                devices=[device.name for device in self.workspace.devices],
                show=show,
                on_version=lambda _: None,
            )
            watching = asyncio.create_task(observer.watch())
            stack.callback(watching.cancel)
            sightings = await stack.enter_async_context(witness(port, topics))
            server, *agents = self._edgefed(children, disks, clock)
            for process in (server, *agents):
                stack.callback(process.abandon)
            yield Arena(
                plan=self.plan,
                rounds=self.rounds,
                round_s=self.round_s,
                rng=self.rng,
                port=port,
                observer=observer,
                sightings=sightings,
                broker=broker,
                server=server,
                agents=agents,
                proxies=proxies,
                disks=disks,
                clock=clock,
                tell=tell,
                began=asyncio.get_running_loop().time(),
            )

    async def _disks(self, children: Children) -> dict[str, SmallDisk]:
        """Mount the small disks, by the name of the process that gets each."""
        first = self.workspace.devices[0]
        folders = {
            "server": ("server", self.workspace.server_state),
            "device": (first.name, first.config.parent / "state"),
        }
        disks = {}
        for whose in sorted(self.conditions.small_disks):
            name, folder = folders[whose]
            disks[name] = SmallDisk(folder)
            await disks[name].open(children, log=self.logs / f"disk-{name}.log")
        return disks

    def _clock(self) -> FalseClock | None:
        if not self.conditions.clock:
            return None
        library = find_library()
        if library is None:
            raise ConfigError(MISSING)
        clock = FalseClock(self.workspace.folder / "clock", library)
        clock.shift(0)
        return clock

    def _broker(
        self, children: Children, port: int, clock: FalseClock | None
    ) -> Process:
        program = find_mosquitto()
        if program is None:
            raise ConfigError(
                "chaos needs mosquitto as its broker",
                remedy="sudo apt install mosquitto",
            )
        config = self.workspace.folder / "mosquitto.conf"
        config.write_text(mosquitto_conf(port))
        if self.conditions.clock == "edgefed":
            clock = None
        prefix = clock.prefix if clock else ()
        return Process(
            "broker",
            [*prefix, program, "-c", str(config)],
            children=children,
            logs=self.logs,
        )

    async def _proxies(
        self, stack: contextlib.AsyncExitStack, port: int
    ) -> dict[str, Proxy]:
        links = {
            "devices": self.conditions.weather,
            "server": self.conditions.server_weather,
        }
        return {
            name: await stack.enter_async_context(
                Proxy(port, weather=weather, rng=Random(self.rng.random()))  # noqa: S311
            )
            for name, weather in links.items()
            if weather is not None
        }

    def _configure(self, port: int, proxies: dict[str, Proxy]) -> None:
        if self.conditions.artifact_bytes:
            grow_artifact(
                self.subject.artifact,
                self.artifact,
                size=self.conditions.artifact_bytes,
                rng=self.rng,
            )
        ports = {name: proxy.port for name, proxy in proxies.items()}
        changes: dict[str, Section] = {
            "server": {"resend_s": self.conditions.resend_s},
            "model": {"artifact": str(self.artifact.absolute())},
            "round": {
                "rounds": 0 if self.conditions.endless else self.rounds,
                "deadline_s": DEADLINE_S,
                "minimum": max(1, len(self.workspace.devices) // 2),
                "devices": len(self.workspace.devices) + self.conditions.absent,
            },
            "broker": {"port": ports.get("server", port)},
        }
        self.workspace.configure(
            self.plan.federation(self.rounds),
            port=port,
            protocol="5",
            device_ports={
                device.name: ports.get("devices", port)
                for device in self.workspace.devices
            },
            server_changes=changes,
        )

    def _edgefed(
        self,
        children: Children,
        disks: dict[str, SmallDisk],
        clock: FalseClock | None,
    ) -> list[Process]:
        """Return the server, then the agents."""
        configs = {
            "server": self.workspace.server_config,
            **{device.name: device.config for device in self.workspace.devices},
        }
        processes = []
        for name, config in configs.items():
            role = "server" if name == "server" else "agent"
            command = [
                *(disks[name].prefix if name in disks else ()),
                *(clock.prefix if clock else ()),
                *edgefed_command([role, "run", "--config", str(config.absolute())]),
            ]
            processes.append(Process(name, command, children=children, logs=self.logs))
        return processes


async def _accepts(port: int, broker: Process) -> None:
    """Wait until the broker accepts connections."""
    ended = broker.begin()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ACCEPTS_S):
            while not ended.done():
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(LOOPBACK, port)
                    writer.close()
                    return
                await asyncio.sleep(_POLL_S)
    raise RefusedError(
        f"mosquitto did not start on port {port}", remedy=f"read {broker.log}"
    )
