"""The agent killed at every write and in every phase: the same updates, to the bit."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.session import Reporting, Training
from edge_agent.state_files import StateFiles
from model_zoo.zoo import artifact_folder
from tests.edge_agent.agents import RunningAgent, running_agent
from tests.edge_agent.power import PowerCut, When
from tests.edge_agent.scenes import (
    abandoned,
    idle_after,
    phase_told,
    phases,
    prepare,
    update_of,
)
from tests.edge_agent.scripted_server import TOPICS, ScriptedServer
from tests.fakes import MemoryBroker
from wire_protocol.errors import Reason
from wire_protocol.framing import expect, frame
from wire_protocol.messages import CheckIn, RoundOffer

Story = Callable[[ScriptedServer, Path], Awaitable[None]]
EPOCHS = 3
LONG = 1000
"""Epochs that do not end before a test has done something else."""


def tell(story: Story, folder: Path) -> MemoryBroker:
    """Let a story that starts its own agents happen; return what was published."""
    artifact = artifact_folder("digits-mlp")
    prepare(folder, artifact)

    async def whole() -> MemoryBroker:
        broker = MemoryBroker()
        async with ScriptedServer(broker, artifact).running() as server:
            await story(server, folder)
        return broker

    return asyncio.run(whole())


def offer(
    server: ScriptedServer, number: int, *, late: int = 2, epochs: int = EPOCHS
) -> RoundOffer:
    made = server.offer(number)
    return replace(made, plan=replace(made.plan, epochs=epochs), max_staleness=late)


async def two_rounds(server: ScriptedServer) -> list[str]:
    """Lead two rounds; return the transfers that were accepted."""
    accepted: dict[int, str] = {}

    async def answer() -> None:
        while True:
            _, transfer, head, _ = await server.updates.get()
            assert accepted.setdefault(head.round, transfer) == transfer
            await server.receipt(head.round, transfer, reason=Reason.ACCEPTED)

    answering = asyncio.create_task(answer())
    for number in (1, 2):
        await server.open(offer(server, number))
        await idle_after(server, number)
        await server.close(number)
        step = np.random.default_rng(number).normal(0, 0.01, server.params.size)
        server.advance(step.astype(np.float32))
    answering.cancel()
    await asyncio.wait({answering})
    return [accepted[1], accepted[2]]


def undisturbed(folder: Path) -> tuple[list[str], int]:
    """Return what two rounds give, and how many writes they take."""
    accepted: list[str] = []
    counter = PowerCut(-1, "after", lambda: None)

    async def story(server: ScriptedServer, home: Path) -> None:
        files = StateFiles(home / "state", replace_file=counter.replace_file)
        async with running_agent(server.broker, home, files=files):
            accepted.extend(await two_rounds(server))

    tell(story, folder)
    return accepted, counter.seen


WRITES = 20
"""Of two rounds: journal, model, checkpoints, what was meant, update."""


def test_two_rounds_take_so_many_writes(tmp_path: Path) -> None:
    _, writes = undisturbed(tmp_path)
    assert writes == WRITES


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return undisturbed(tmp_path_factory.mktemp("undisturbed"))[0]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(WRITES))
def test_a_power_cut_at_any_write_changes_no_update(
    tmp_path: Path, expected: list[str], at: int, when: When
) -> None:
    accepted: list[str] = []

    async def story(server: ScriptedServer, home: Path) -> None:
        loop = asyncio.get_running_loop()
        agents: list[RunningAgent] = []

        def cut() -> None:
            def now() -> None:
                agents[0].link.cut()
                agents[0].task.cancel()

            loop.call_soon_threadsafe(now)

        power = PowerCut(at, when, cut)
        files = StateFiles(home / "state", replace_file=power.replace_file)
        rounds = asyncio.create_task(two_rounds(server))
        async with running_agent(server.broker, home, files=files) as agent:
            agents.append(agent)
            await asyncio.wait({agent.task, rounds}, return_when="FIRST_COMPLETED")
        assert power.out
        async with running_agent(server.broker, home):
            accepted.extend(await rounds)

    broker = tell(story, tmp_path)
    assert accepted == expected
    assert abandoned(broker) == []


@pytest.mark.parametrize("phase", ["fetching", "training", "reporting"])
def test_a_device_that_left_in_order_goes_on_where_it_was(
    tmp_path: Path, phase: str
) -> None:
    async def story(server: ScriptedServer, home: Path) -> None:
        # so many that a device told to leave cannot be done before it hears it
        made = offer(server, 1, epochs=LONG if phase == "training" else EPOCHS)
        keyframe = server.blobs[made.keyframe.sha256]
        if phase == "fetching":
            del server.blobs[made.keyframe.sha256]
        server.broker.loses = lambda topic: "/up/" in topic
        await server.open(made)
        async with running_agent(server.broker, home):
            await phase_told(server, phase)
        server.broker.loses = lambda _: False
        server.blobs[made.keyframe.sha256] = keyframe
        async with running_agent(server.broker, home):
            _, transfer, head, _ = await server.update()
            assert head.round == 1
            await server.receipt(1, transfer, reason=Reason.ACCEPTED)
            await idle_after(server, 1)

    broker = tell(story, tmp_path)
    left = [(1, Reason.LEAVING)] if phase != "reporting" else []
    assert abandoned(broker) == left


async def reported(server: ScriptedServer, home: Path) -> str:
    """Have round 1 trained and its device killed before the receipt."""
    await server.open(offer(server, 1))
    async with running_agent(server.broker, home) as agent:
        _, transfer, _, _ = await server.update()
        await agent.kill()
    await server.close(1)
    return transfer


def test_the_outbox_is_sent_after_a_restart_though_the_round_is_closed(
    tmp_path: Path,
) -> None:
    async def story(server: ScriptedServer, home: Path) -> None:
        transfer = await reported(server, home)
        async with running_agent(server.broker, home):
            _, again, head, _ = await server.update()
            assert (again, head.round) == (transfer, 1)
            await server.receipt(1, transfer, reason=Reason.ACCEPTED)
            await idle_after(server, 1)
        check_ins = server.broker.sent(TOPICS.device("a", "info"))
        assert expect(CheckIn, check_ins[-1])[0].busy in (0, 1)
        assert any(expect(CheckIn, raw)[0].busy == 1 for raw in check_ins)

    broker = tell(story, tmp_path)
    assert phases(broker).count("training") == 1


def test_a_stale_outbox_goes_into_the_next_update(tmp_path: Path) -> None:
    norms: dict[Reason, float] = {}
    for verdict in (Reason.ACCEPTED, Reason.STALE):

        async def story(
            server: ScriptedServer, home: Path, *, reason: Reason = verdict
        ) -> None:
            transfer = await reported(server, home)
            async with running_agent(server.broker, home):
                await server.update()
                await server.receipt(1, transfer, reason=reason)
                await idle_after(server, 1)
                await server.open(offer(server, 2))
                _, delta = await update_of(server, 2)
                norms[reason] = float(np.linalg.norm(delta))

        folder = tmp_path / verdict
        folder.mkdir()
        tell(story, folder)
    assert norms[Reason.STALE] > 1.5 * norms[Reason.ACCEPTED]


def test_an_offer_that_comes_before_the_receipt_is_taken_after_it(
    tmp_path: Path,
) -> None:
    async def story(server: ScriptedServer, home: Path) -> None:
        transfer = await reported(server, home)
        await server.open(offer(server, 2))
        async with running_agent(server.broker, home) as agent:
            await server.update()
            # the offer makes the device send again at once
            await server.open(offer(server, 2))
            await server.update()
            state = agent.service._state
            assert isinstance(state, Reporting)
            assert state.next is not None
            await server.receipt(1, transfer, reason=Reason.ACCEPTED)
            await update_of(server, 2)

    broker = tell(story, tmp_path)
    assert abandoned(broker) == []


@pytest.mark.parametrize("late", [0, 2])
def test_training_goes_on_without_a_link_and_without_its_round(
    tmp_path: Path, late: int
) -> None:
    async def story(server: ScriptedServer, home: Path) -> None:
        await server.open(offer(server, 1, late=late))
        async with running_agent(server.broker, home) as agent:
            await phase_told(server, "training")
            await agent.kill()
        assert isinstance(agent.service._state, Training | Reporting)
        await server.close(1)
        # what is on disk is all it takes: no keyframe, no manifest, no link at first
        server.blobs.clear()
        info = server.broker.retained.pop(TOPICS.server_info)
        async with running_agent(server.broker, home) as agent:
            await phase_told(server, "reporting")
            server.broker.retained[TOPICS.server_info] = info
            await server.say(TOPICS.server_info, info, retain=True)
            assert (await server.update())[2].round == 1

    tell(story, tmp_path)


def test_a_busy_device_says_so_to_every_later_offer(tmp_path: Path) -> None:
    async def story(server: ScriptedServer, home: Path) -> None:
        await server.open(offer(server, 1, epochs=LONG))
        async with running_agent(server.broker, home) as agent:
            await phase_told(server, "training")
            # heard before training can end: that takes many turns of the loop
            for _ in range(2):
                agent.link.hear(TOPICS.round(2), frame(offer(server, 2)))
            await update_of(server, 1)

    broker = tell(story, tmp_path)
    assert abandoned(broker)[:2] == [(2, Reason.BUSY)] * 2


def test_a_damaged_outbox_is_told_and_the_next_round_is_trained(
    tmp_path: Path,
) -> None:
    async def story(server: ScriptedServer, home: Path) -> None:
        await reported(server, home)
        (path,) = (home / "state" / "memory").glob("*.update")
        path.write_bytes(b"damaged")
        async with running_agent(server.broker, home):
            await idle_after(server, 1)
            await server.open(offer(server, 2))
            await update_of(server, 2)

    broker = tell(story, tmp_path)
    assert abandoned(broker) == [(1, Reason.TRAINING_FAILED)]


def test_a_damaged_model_is_fetched_again_and_training_begins_anew(
    tmp_path: Path,
) -> None:
    async def story(server: ScriptedServer, home: Path) -> None:
        await server.open(offer(server, 1, epochs=LONG))
        async with running_agent(server.broker, home) as agent:
            await phase_told(server, "training")
            await agent.kill()
        (path,) = (home / "state" / "memory").glob("model-*")
        path.write_bytes(path.read_bytes()[:-1])
        with contextlib.suppress(FileNotFoundError):
            (home / "state" / "memory" / "checkpoint.vectors").write_bytes(b"damaged")
        server.needs.clear()
        async with running_agent(server.broker, home):
            await server.update()
        assert set(server.needs) == {offer(server, 1).keyframe.sha256}

    tell(story, tmp_path)
