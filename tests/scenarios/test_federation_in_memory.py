"""Whole federations in one process: real agents, trainers and server, no sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from broker_server.artifact import load_artifact
from broker_server.config import (
    CodecSection,
    ModelSection,
    PlanSection,
    RoundSection,
    ServerConfig,
    ServerSection,
)
from broker_server.guard_settings import GuardSection
from broker_server.service import Service
from broker_server.store import Store
from broker_server.tally import Ending
from edge_agent.examples import Examples
from edge_agent.runtimes import RuntimeName
from edge_agent.trainers.trainer import open_trainer
from edge_agent.training import evaluate
from model_zoo import zoo
from model_zoo.data import catalog
from model_zoo.data.federation import Federation, federate, write_shard
from tests.edge_agent.agents import RunningAgent, running_agent
from tests.edge_agent.scenes import prepare
from tests.fakes import MemoryBroker
from wire_protocol.blobs import Block
from wire_protocol.codecs import codec_named
from wire_protocol.framing import expect
from wire_protocol.link import Will
from wire_protocol.messages import ClientUpdate
from wire_protocol.params import Vector, params_digest
from wire_protocol.topics import Topics
from wire_protocol.transfer import Assembly

MODEL = "digits-mlp"
TOPICS = Topics("home")
RUNTIMES: dict[str, RuntimeName] = {
    "device-01": "litert",
    "device-02": "onnxruntime",
    "device-03": "litert",
    "device-04": "onnxruntime",
}
ALL = len(RUNTIMES)
LAST = "device-04"
WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A federation under way."""

    broker: MemoryBroker
    store: Store
    agents: dict[str, RunningAgent]
    server: "asyncio.Task[Ending]"
    stop: asyncio.Event

    async def ended(self) -> None:
        """Wait until the server has ended by itself."""
        async with asyncio.timeout(WITHIN_S):
            assert await self.server == "rounds"

    def took_part(self, device: str) -> list[int]:
        """Return the merged rounds that count an update of ``device``."""
        return [
            record.round
            for record in self.store.rounds()
            if record.outcome == "merged"
            and device in [one.device for one in record.participants]
        ]


def digits() -> Federation:
    """Return digits for every device, with label skew."""
    data = catalog.load("digits", seed=0, environ={})
    return federate(data, devices=ALL, seed=0)


@asynccontextmanager
async def rehearsal(
    folder: Path, rounds: RoundSection, *, codec: CodecSection, guard: GuardSection
) -> AsyncIterator[Rehearsal]:
    """Run a server and four agents on two runtimes until the block ends."""
    config = ServerConfig(
        server=ServerSection(folder / "server", resend_s=0.05, seed=3),
        model=ModelSection(MODEL),
        round=rounds,
        plan=PlanSection(epochs=2),
        codec=codec,
        guard=guard,
    )
    broker, stop, agents = MemoryBroker(), asyncio.Event(), {}
    async with AsyncExitStack() as stack:
        store = stack.enter_context(Store.open(config.server.state_dir))
        link = await stack.enter_async_context(
            broker.link(will=Will(TOPICS.server_availability, b"offline"))
        )
        artifact = load_artifact(zoo.artifact_folder(MODEL))
        service = Service(config, artifact, store=store, link=link)
        server = asyncio.create_task(service.run(stop))
        for shard in digits().shards:
            home, runtime = folder / shard.name, RUNTIMES[shard.name]
            prepare(home, zoo.artifact_folder(MODEL), runtime=runtime)
            write_shard(shard, home / f"{shard.name}.npz")
            agents[shard.name] = await stack.enter_async_context(
                running_agent(broker, home, device=shard.name, runtime=runtime)
            )
        yield Rehearsal(broker, store, agents, server, stop)
        stop.set()
        async with asyncio.timeout(WITHIN_S):
            await server


def play(
    folder: Path,
    scenario: Callable[[Rehearsal], Awaitable[None]],
    *,
    rounds: RoundSection,
    codec: CodecSection | None = None,
    guard: GuardSection | None = None,
) -> None:
    """Run a scenario in a federation of its own."""

    async def whole() -> None:
        async with rehearsal(
            folder,
            rounds,
            codec=codec or CodecSection(),
            guard=guard or GuardSection(),
        ) as going:
            await scenario(going)

    asyncio.run(whole())


def accuracy(params: Vector) -> float:
    """Judge parameters on the examples that no device holds."""
    folder, test = zoo.artifact_folder(MODEL), digits()
    manifest = zoo.manifest(MODEL)
    trainer = open_trainer("litert", folder, manifest=manifest)
    examples = Examples(test.test_x, test.test_y)
    try:
        found = evaluate(trainer, examples, params=params, batch=manifest.batch)
    finally:
        trainer.close()
    return found.metric_sum / found.examples


def updates(broker: MemoryBroker, size: int) -> list[tuple[ClientUpdate, Vector]]:
    """Return every update that was sent, read off the wire."""
    assemblies: dict[str, Assembly] = {}
    found = {}
    for payload in broker.sent(TOPICS.device("+", "up", "+", "b", "+")):
        block, body = expect(Block, payload)
        known = Assembly(block.blob, block_bytes=32_768, max_bytes=1 << 20)
        blob = assemblies.setdefault(block.blob.sha256, known).add(block, body)
        if blob is not None:
            head, encoded = expect(ClientUpdate, blob)
            delta = codec_named(head.codec).decode(encoded, size)
            found[block.blob.sha256] = head, delta
    return list(found.values())


def test_a_federation_of_both_runtimes_learns(tmp_path: Path) -> None:
    async def scenario(going: Rehearsal) -> None:
        await going.ended()
        records = going.store.rounds()
        assert [record.outcome for record in records] == ["merged"] * 6
        for record in records:
            assert {name.split()[0] for name in record.runtimes} == {
                "litert",
                "onnxruntime",
            }
        first, last = (accuracy(going.store.params(version)) for version in (0, 6))
        assert first < 0.3
        assert last > 0.88

    play(tmp_path, scenario, rounds=RoundSection(rounds=6, devices=ALL))


ALL_OF_THREE = RoundSection(rounds=3, devices=ALL, minimum=ALL)


async def cut_off_a_receipt(going: Rehearsal) -> None:
    """Cut a device's connection between its update of round 1 and the receipt."""
    link = going.agents[LAST].link
    cuts: list[str] = []

    def loses(topic: str) -> bool:
        if topic != TOPICS.device(LAST, "cmd", "receipt") or cuts:
            return False
        cuts.append(topic)
        link.cut()
        return True

    going.broker.loses = loses
    await going.broker.until(lambda: b"" in going.broker.sent(TOPICS.round(1)))
    assert cuts
    link.restore()


def test_a_run_can_be_repeated_to_the_bit_even_if_a_receipt_is_cut_off(
    tmp_path: Path,
) -> None:
    digests = {}

    async def undisturbed(_going: Rehearsal) -> None:
        pass

    for name, disturb in {
        "first": undisturbed,
        "second": undisturbed,
        "with a cut": cut_off_a_receipt,
    }.items():

        async def scenario(
            going: Rehearsal,
            *,
            name: str = name,
            disturb: Callable[[Rehearsal], Awaitable[None]] = disturb,
        ) -> None:
            await disturb(going)
            await going.ended()
            assert going.took_part(LAST) == [1, 2, 3]
            digests[name] = params_digest(going.store.params(3))

        play(tmp_path / name, scenario, rounds=ALL_OF_THREE)
    assert len(digests) == 3
    assert len(set(digests.values())) == 1


def test_without_quantization_and_bounds_it_is_federated_averaging(
    tmp_path: Path,
) -> None:
    async def scenario(going: Rehearsal) -> None:
        await going.ended()
        params = going.store.params(0).astype(np.float64)
        velocity = np.zeros_like(params)
        sent = updates(going.broker, params.size)
        for number in (1, 2, 3):
            of_round = [(head, d) for head, d in sent if head.round == number]
            weights = [head.num_examples for head, _ in of_round]
            assert sorted(weights) == sorted(held)
            deltas = np.array([delta for _, delta in of_round], np.float64)
            velocity = 0.5 * velocity + np.average(deltas, axis=0, weights=weights)
            params = params + velocity
            merged = going.store.params(number)
            np.testing.assert_allclose(merged, params, rtol=0, atol=1e-6)
        assert np.abs(velocity).max() > 1e-3

    held = [len(shard) - round(0.2 * len(shard)) for shard in digits().shards]
    codec = CodecSection(uplink="f32", downlink="f32")
    unbound = GuardSection(clip=100.0, weight_cap=1e6)
    play(tmp_path, scenario, rounds=ALL_OF_THREE, codec=codec, guard=unbound)


def test_a_device_that_drops_out_takes_part_again_when_it_is_back(
    tmp_path: Path,
) -> None:
    async def scenario(going: Rehearsal) -> None:
        note = TOPICS.device(LAST, "state"), b'{"phase":"training","round":2}'

        def loses(topic: str) -> bool:
            if topic == note[0] and going.broker.published[-1] == note:
                going.agents[LAST].link.cut()
            return False

        going.broker.loses = loses
        others = going.agents.keys() - {LAST}
        await going.broker.until(lambda: 3 in going.took_part(min(others)))
        going.agents[LAST].link.restore()
        await going.broker.until(lambda: len(going.took_part(LAST)) >= 3)
        first, *later = going.took_part(LAST)
        assert first == 1
        assert min(later) > 3
        for device in others:
            assert going.took_part(device)[:3] == [1, 2, 3]

    # No deadline ends a round here: nobody waits for it when a device drops out.
    play(tmp_path, scenario, rounds=RoundSection(devices=ALL))
