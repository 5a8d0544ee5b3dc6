"""A federation whose model scales its inputs, and keeps a head on every device."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from broker_server.artifact import load_artifact
from broker_server.config import (
    ModelSection,
    PlanSection,
    RoundSection,
    ServerConfig,
    ServerSection,
)
from broker_server.service import Service
from broker_server.store import Store
from edge_agent.examples import ExampleStore
from edge_agent.memory import Memory
from edge_agent.runtimes import RuntimeName
from edge_agent.state_files import StateFiles
from model_zoo.building import build
from model_zoo.layers import dense, flatten, frozen, personal, relu, standardize
from model_zoo.model import Model, PlanDefaults
from tests.edge_agent.agents import RunningAgent, running_agent
from tests.edge_agent.scenes import prepare
from tests.fakes import MemoryBroker
from wire_protocol.blobs import Block
from wire_protocol.codecs import codec_named
from wire_protocol.errors import DecodeError
from wire_protocol.framing import expect
from wire_protocol.link import Will
from wire_protocol.messages import CheckIn, ClientUpdate
from wire_protocol.params import Vector
from wire_protocol.topics import Topics
from wire_protocol.transfer import Assembly

TOPICS = Topics("home")
WITHIN_S = 30.0
RUNTIMES: dict[str, RuntimeName] = {"attic": "litert", "kitchen": "onnxruntime"}
MODEL = Model(
    name="roles",
    data="none",
    input_shape=(5, 3),
    outputs=2,
    batch=8,
    layers=(
        standardize(),
        flatten(),
        frozen(dense(12)),
        relu(),
        dense(8),
        relu(),
        personal(dense(2)),
    ),
    plan=PlanDefaults(rounds=3, epochs=2, learning_rate=0.01, momentum=0.9),
    optimizer="adam",
)
LAYOUT = MODEL.layout


def examples(device: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Large, shifted inputs; who is in the attic calls the classes the other way."""
    rng = np.random.default_rng(len(device))
    y = rng.integers(0, 2, 60)
    x = rng.normal(1000, 50, (60, 5, 3)) + 60 * y[:, None, None]
    if device == "attic":
        y = 1 - y
    return x.astype(np.float32), y.astype(np.int32)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("roles")
    build(MODEL, folder)
    return folder


@dataclass(frozen=True, slots=True)
class Fleet:
    """A federation under way."""

    broker: MemoryBroker
    store: Store
    agents: dict[str, RunningAgent]

    async def version(self, number: int) -> Vector:
        """Wait for a version of the global model."""
        async with asyncio.timeout(WITHIN_S):
            while self.store.versions()[-1].version < number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.store.params(number)


@asynccontextmanager
async def fleet(
    folder: Path, artifact: Path, *, broker: MemoryBroker, rounds: int
) -> AsyncIterator[Fleet]:
    """Run a server and an agent on each runtime until the block ends."""
    config = ServerConfig(
        server=ServerSection(folder / "server", resend_s=0.05, seed=3),
        model=ModelSection(str(artifact)),
        round=RoundSection(rounds=rounds, devices=2, over_select=1.0),
        plan=PlanSection(epochs=12, learning_rate=0.01),
    )
    stop, agents = asyncio.Event(), {}
    async with AsyncExitStack() as stack:
        store = stack.enter_context(Store.open(config.server.state_dir))
        will = Will(TOPICS.server_availability, b"offline")
        link = await stack.enter_async_context(broker.link(will=will))
        service = Service(config, load_artifact(artifact), store=store, link=link)
        server = asyncio.create_task(service.run(stop))
        for device, runtime in RUNTIMES.items():
            home = folder / device
            if not home.exists():
                prepare(home, artifact, runtime=runtime)
                x, y = examples(device)
                np.savez(home / f"{device}.npz", x=x, y=y)
            agents[device] = await stack.enter_async_context(
                running_agent(broker, home, device=device, runtime=runtime)
            )
        yield Fleet(broker, store, agents)
        stop.set()
        async with asyncio.timeout(WITHIN_S):
            await server


def own(folder: Path, device: str) -> Vector:
    """Return the personal parameters on a device's disk."""
    memory = Memory(StateFiles(folder / device / "state"))
    size = sum(spec.size for spec in LAYOUT.specs if spec.personal)
    found = memory.personal(layout=LAYOUT.digest, size=size)
    assert found is not None
    return found


def trained(folder: Path) -> NDArray[np.float64]:
    """Return all inputs that are trained on, a row for each place."""
    stores = [
        ExampleStore.load(folder / device / f"{device}.npz", holdout=0.2, seed=1)
        for device in RUNTIMES
    ]
    x = np.concatenate([store.training.x for store in stores])
    return x.reshape(-1, 3).astype(np.float64)


def sent(broker: MemoryBroker) -> list[tuple[ClientUpdate, bytes]]:
    """Return every update that was sent, read off the wire, each once."""
    found = {}
    for payload in broker.sent(TOPICS.device("+", "up", "+", "b", "+")):
        block, body = expect(Block, payload)
        whole = Assembly(block.blob, block_bytes=32_768, max_bytes=1 << 20)
        blob = whole.add(block, body)
        assert blob is not None
        found[block.blob.sha256] = expect(ClientUpdate, blob)
    return list(found.values())


def test_each_parameter_stays_where_it_belongs(tmp_path: Path, artifact: Path) -> None:
    async def run(broker: MemoryBroker, *, rounds: int) -> list[Vector]:
        async with fleet(tmp_path, artifact, broker=broker, rounds=rounds) as going:
            return [await going.version(rounds), going.store.params(0)]

    broker = MemoryBroker()
    after, before = asyncio.run(run(broker, rounds=2))
    inputs = trained(tmp_path)
    mean, scale, *_ = LAYOUT.split(before)
    np.testing.assert_allclose(mean, inputs.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale, 1 / inputs.std(0), rtol=1e-3)
    for spec, one, other in zip(
        LAYOUT.specs, LAYOUT.split(before), LAYOUT.split(after), strict=True
    ):
        assert np.array_equal(one, other) == (not spec.federated), spec.name
    codec = codec_named("uq")
    for update, encoded in sent(broker):
        # it decodes to what is federated, and to nothing else
        assert update.layout == LAYOUT.digest
        assert codec.decode(encoded, LAYOUT.federated.size).any()
        with pytest.raises(DecodeError):
            codec.decode(encoded, LAYOUT.size)

    heads = {device: own(tmp_path, device) for device in RUNTIMES}
    asyncio.run(run(later := MemoryBroker(), rounds=5))
    for device, head in heads.items():
        assert not np.array_equal(own(tmp_path, device), head)
    # nobody agrees with the other on what the classes are called, and both are right
    evaluations = [update.evaluation for update, _ in sent(later)[-2:]]
    assert all(one and one.metric_sum / one.examples > 0.9 for one in evaluations)


def test_nothing_of_the_statistics_stays_with_the_broker(
    tmp_path: Path, artifact: Path
) -> None:
    topics = [TOPICS.device(device, "info") for device in RUNTIMES]

    def told(payload: bytes) -> bool:
        return expect(CheckIn, payload)[0].statistics is not None

    async def run() -> MemoryBroker:
        broker = MemoryBroker()
        async with fleet(tmp_path, artifact, broker=broker, rounds=1) as going:
            await going.version(1)
            await broker.until(
                lambda: not any(told(broker.retained[topic]) for topic in topics)
            )
        return broker

    broker = asyncio.run(run())
    for topic in topics:
        assert any(told(payload) for payload in broker.sent(topic))
