"""An agent under test: real trainer, real files, a link in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.conditions import Hindrance
from edge_agent.config import AgentConfig, DeviceSettings
from edge_agent.data_settings import DataSettings
from edge_agent.feeding import open_examples
from edge_agent.membership import IdentityFolder
from edge_agent.presence import link_settings
from edge_agent.probe import Finding, installed_version
from edge_agent.renewal import Renewal
from edge_agent.runtimes import RUNTIMES, RuntimeName
from edge_agent.service import Service
from edge_agent.state_files import StateFiles
from edge_agent.trainers.trainer import OpenTrainer, open_trainer
from tests.fakes import MemoryBroker, MemoryLink
from wire_protocol.envelope import as_it_is
from wire_protocol.sealed_link import SealedLink
from wire_protocol.topics import Topics


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """A service, its link, and what ends it."""

    service: Service
    link: MemoryLink
    stop: asyncio.Event
    task: "asyncio.Task[None]"

    async def kill(self) -> None:
        """Pull the plug: nothing is said or written any more."""
        self.task.cancel()
        await asyncio.wait({self.task})
        self.link.cut()


def write_examples(
    path: Path, *, count: int = 70, shape: tuple[int, ...] = (64,), classes: int = 10
) -> Path:
    """Write separable random examples."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, classes, count).astype(np.int32)
    centres = rng.uniform(0, 16, (classes, *shape))
    x = centres[y] + rng.normal(0, 1, (count, *shape))
    np.savez(path, x=x.astype(np.float32), y=y)
    return path


def finding(name: RuntimeName = "litert") -> Finding:
    """Return a runtime that is taken to work."""
    return Finding(RUNTIMES[name], installed_version(RUNTIMES[name]))


def sealed_link(link: MemoryLink, identity: IdentityFolder) -> SealedLink:
    """Return ``link`` as a member of a fleet has it."""
    topics = Topics(identity.membership().fleet)
    return SealedLink(link, topics=topics, unseal=identity.verifier().unseal)


def renewal_of(link: MemoryLink, identity: IdentityFolder) -> Renewal:
    """Return what renews a member's certificate."""
    return Renewal(
        link,
        topics=Topics(identity.membership().fleet),
        identity=identity,
        seal=identity.signer.seal,
    )


@asynccontextmanager
async def running_agent(
    broker: MemoryBroker,
    folder: Path,
    *,
    device: str = "a",
    runtime: RuntimeName = "litert",
    files: StateFiles | None = None,
    open_trainer: OpenTrainer = open_trainer,
    look: Callable[[], Hindrance | None] = lambda: None,
    data: DataSettings | None = None,
    identity: IdentityFolder | None = None,
    **examples: object,
) -> AsyncIterator[RunningAgent]:
    """Run an agent until the block ends; its own errors are raised there.

    With ``identity`` it is a member of a fleet. Its examples are of a file unless
    ``data`` says more. Its clock stands still, so that nothing in an update depends on
    how long it took.
    """
    source = folder / f"{device}.npz"
    if data is None and not source.exists():
        write_examples(source, **examples)  # type: ignore[arg-type]
    config = AgentConfig(
        DeviceSettings(device, folder / "state"), data or DataSettings(source, seed=1)
    )
    files = files or StateFiles(config.agent.state_dir)
    fed = open_examples(config.data, files=files, clock=lambda: 0.0)
    async with broker.link(will=link_settings(config).will) as link:
        service = Service(
            link if identity is None else sealed_link(link, identity),
            config=config,
            store=fed.store,
            feed=fed.feed,
            runtime=finding(runtime),
            files=files,
            jitter=lambda: 0.5,
            clock=lambda: 0.0,
            open_trainer=open_trainer,
            look=look,
            seal=as_it_is if identity is None else identity.signer.seal,
            renewal=None if identity is None else renewal_of(link, identity),
        )
        stop = asyncio.Event()
        task = asyncio.create_task(service.run(stop))
        try:
            yield RunningAgent(service, link, stop, task)
        finally:
            stop.set()
            with suppress(asyncio.CancelledError):  # killed by the test
                await task
