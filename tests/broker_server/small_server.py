"""A server of a tiny model, with a broker in memory and scripted devices."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from broker_server.artifact import Artifact, load_artifact
from broker_server.clocks import Clocks
from broker_server.config import (
    CodecSection,
    ConvergenceSection,
    LimitsSection,
    ModelSection,
    RoundSection,
    SecuritySection,
    ServerConfig,
    ServerSection,
)
from broker_server.fleet_folder import FleetFolder
from broker_server.guard_settings import GuardSection
from broker_server.roster import EVERYBODY, Roster
from broker_server.service import Service
from broker_server.store import Store
from broker_server.tally import Ending
from tests.broker_server.scripted_device import ScriptedDevice
from tests.fakes import MemoryBroker
from wire_protocol.envelope import as_it_is
from wire_protocol.feature_statistics import FeatureStatistics, channels_of
from wire_protocol.link import Link, Will
from wire_protocol.manifest import FileRef, Manifest, SelfTest
from wire_protocol.messages import RoundOffer
from wire_protocol.params import ParamLayout, ParamSpec, Vector
from wire_protocol.sealed_link import SealedLink
from wire_protocol.signing import Signer, Verifier
from wire_protocol.topics import Topics

FLEET = "test"
BLOCK_BYTES = 1024
LAYOUT = ParamLayout((ParamSpec("w", (30, 20), "uniform", 0.5), ParamSpec("b", (20,))))
TOPICS = Topics(FLEET)
WITHIN_S = 20.0


def write_artifact(folder: Path, *, layout: ParamLayout = LAYOUT) -> Path:
    """Write a tiny artifact; the server never looks into its files."""
    folder.mkdir(parents=True, exist_ok=True)
    model = b"a model" * 400
    manifest = Manifest(
        name="tiny",
        task="classification",
        input_shape=(channels_of(layout) or 30,),
        outputs=20,
        batch=8,
        layout=layout,
        files={"model.tflite": FileRef(len(model), hashlib.sha256(model).hexdigest())},
        selftest=SelfTest((1.0,), (1.0,) * len(layout.specs), 1.0, 0.1, 0.9, 0.0, 1e-3),
    )
    (folder / "model.tflite").write_bytes(model)
    (folder / "manifest.json").write_bytes(manifest.to_json())
    return folder


def config_in(folder: Path) -> ServerConfig:
    """Return a configuration with state in ``folder``."""
    return ServerConfig(
        server=ServerSection(
            folder / "state", fleet=FLEET, block_bytes=BLOCK_BYTES, resend_s=0.05
        ),
        model=ModelSection("tiny"),
        round=RoundSection(deadline_s=600.0),
    )


@dataclass
class SmallServer:
    """A running server and the means to watch it."""

    config: ServerConfig
    broker: MemoryBroker
    artifact: Artifact
    store: Store
    stop: asyncio.Event
    task: asyncio.Task[Ending]
    roster: Roster = EVERYBODY
    devices: list[ScriptedDevice] = field(default_factory=list)

    async def device(
        self,
        name: str,
        *,
        statistics: FeatureStatistics | None = None,
        signer: Signer | None = None,
    ) -> ScriptedDevice:
        """Let a device take part; as a member, if the server has a fleet."""
        will = Will(TOPICS.device(name, "availability"), b"offline")
        link: Link = self.broker.link(will=will)
        folder = self.roster.folder
        if folder is not None:
            unseal = Verifier(folder.signer.public).unseal
            link = SealedLink(link, topics=TOPICS, unseal=unseal)
        device = ScriptedDevice(
            name,
            link,
            fleet=FLEET,
            block_bytes=BLOCK_BYTES,
            seal=as_it_is if signer is None else signer.seal,
        )
        await device.join(statistics=statistics)
        self.devices.append(device)
        return device

    async def joined(self, *names: str) -> list[ScriptedDevice]:
        """Let several devices join."""
        return [await self.device(name) for name in names]

    async def kill(self) -> None:
        """End the server without a farewell; its state folder is free again."""
        self.task.cancel()
        await asyncio.wait({self.task})
        self.store.close()

    async def ended(self) -> Ending:
        """Wait until the server has ended by itself."""
        async with asyncio.timeout(WITHIN_S):
            return await self.task


@asynccontextmanager
async def small_server(
    folder: Path,
    *,
    rounds: RoundSection | None = None,
    codec: CodecSection | None = None,
    convergence: ConvergenceSection | None = None,
    limits: LimitsSection | None = None,
    guard: GuardSection | None = None,
    broker: MemoryBroker | None = None,
    layout: ParamLayout = LAYOUT,
    fleet: FleetFolder | None = None,
    clocks: Clocks | None = None,
    resend_s: float = 0.05,
) -> AsyncIterator[SmallServer]:
    """Run a server while the block runs; then stop it."""
    config = config_in(folder)
    config = replace(config, server=replace(config.server, resend_s=resend_s))
    if fleet is not None:
        security = SecuritySection(fleet.path)
        config = replace(config, security=security)
    roster = EVERYBODY if fleet is None else Roster(fleet)
    config = replace(
        config,
        round=rounds or config.round,
        codec=codec or config.codec,
        convergence=convergence or config.convergence,
        limits=limits or config.limits,
        guard=guard or config.guard,
    )
    artifact = load_artifact(write_artifact(folder / "tiny", layout=layout))
    broker = broker or MemoryBroker()
    stop = asyncio.Event()
    with Store.open(config.server.state_dir) as store:
        will = Will(TOPICS.server_availability, b"offline")
        async with broker.link(will=will) as link:
            service = Service(
                config,
                artifact,
                store=store,
                link=SealedLink(link, topics=TOPICS, seal=roster.seal),
                roster=roster,
                clocks=clocks,
            )
            greetings = broker.count(TOPICS.server_info)
            task = asyncio.create_task(service.run(stop))
            # Scripted devices answer no greeting, so they must come after it.
            await broker.until(lambda: broker.count(TOPICS.server_info) > greetings)
            yield SmallServer(config, broker, artifact, store, stop, task, roster)
            stop.set()
            if not task.cancelled():
                async with asyncio.timeout(WITHIN_S):
                    await task


def step_of(offer: RoundOffer, *, scale: float = 0.01) -> Vector:
    """Return a delta that differs by round."""
    rng = np.random.default_rng(offer.round)
    return rng.normal(0, scale, LAYOUT.size).astype(np.float32)
