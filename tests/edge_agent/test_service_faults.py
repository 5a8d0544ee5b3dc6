"""The agent among broken messages, wrong models and offers it cannot serve."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.examples import MisfitError
from model_zoo.zoo import artifact_folder
from tests.edge_agent.agents import RunningAgent, running_agent
from tests.edge_agent.scenes import (
    EVENTS,
    abandoned,
    one_round,
    phases,
    play,
)
from tests.edge_agent.scripted_server import TOPICS, ScriptedServer
from tests.fakes import MemoryBroker
from wire_protocol.blobs import Block
from wire_protocol.errors import Reason
from wire_protocol.framing import expect, frame
from wire_protocol.messages import Abandoned
from wire_protocol.transfer import cut


def test_wrong_deltas_are_made_good_by_the_keyframe(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        await one_round(server, 1)
        server.advance(np.full(server.params.size, 0.01, np.float32))
        server.params = server.params + np.float32(1)  # not what the delta says
        offer = server.offer(2)
        await server.open(offer)
        (_, _, head, _) = await server.update()
        assert head.base == offer.params[:16]
        assert server.needs[-1] == offer.keyframe.sha256

    play(scenario, tmp_path)


HOSTILE: dict[str, tuple[str, bytes, Reason]] = {
    "garbage as info": (TOPICS.server_info, b"\x00" * 40, Reason.MALFORMED),
    "garbage as offer": (TOPICS.round(1), b"EFD1 nothing", Reason.MALFORMED),
    "an offer without a round": (TOPICS.round("x"), b"", Reason.MALFORMED),
    "another message as offer": (
        TOPICS.round(1),
        frame(Abandoned(1, Reason.LEAVING)),
        Reason.MALFORMED,
    ),
    "garbage as receipt": (
        TOPICS.device("a", "cmd", "receipt"),
        b"{}",
        Reason.MALFORMED,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_malformed_is_counted_and_the_round_goes_on(
    tmp_path: Path, name: str
) -> None:
    topic, payload, reason = HOSTILE[name]

    async def scenario(server: ScriptedServer, agent: RunningAgent) -> None:
        await server.broker.until(lambda: bool(agent.link.filters))
        await server.say(topic, payload)
        await one_round(server, 2)
        assert agent.service.dropped[reason] == 1

    play(scenario, tmp_path)


def test_an_offer_on_the_topic_of_another_round_is_counted(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, agent: RunningAgent) -> None:
        await server.broker.until(lambda: bool(agent.link.filters))
        await server.say(TOPICS.round(8), frame(server.offer(9)))
        await one_round(server, 1)
        assert agent.service.dropped == {Reason.WRONG_ROUND: 1}

    broker = play(scenario, tmp_path)
    assert phases(broker).count("training") == 1


def test_a_block_with_other_bytes_is_counted_and_asked_for_again(
    tmp_path: Path,
) -> None:
    async def scenario(server: ScriptedServer, agent: RunningAgent) -> None:
        offer = server.offer(1)
        keyframe = server.blobs.pop(offer.keyframe.sha256)
        await server.open(offer)
        await server.broker.until(lambda: offer.keyframe.sha256 in server.needs)
        _, frames = cut(keyframe, block_bytes=4096)
        for index, raw in enumerate(frames):
            block, body = expect(Block, raw)
            wrong = frame(block, bytes(len(body)))
            await server.say(TOPICS.blocks(offer.keyframe.sha256, index), wrong)
        server.blobs[offer.keyframe.sha256] = keyframe
        await server.update()
        assert agent.service.dropped[Reason.MALFORMED] == 1

    play(scenario, tmp_path)


REFUSED: dict[str, tuple[dict[str, object], Reason]] = {
    "an unknown codec": ({"codec": "mp3"}, Reason.WRONG_CODEC),
    "another layout": ({"layout": "e" * 16}, Reason.WRONG_SCHEMA),
    "other parameters": ({"params": "e" * 64}, Reason.FETCH_FAILED),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_offer_that_cannot_be_served_is_abandoned(tmp_path: Path, name: str) -> None:
    change, reason = REFUSED[name]

    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        await server.open(replace(server.offer(1), **change))  # type: ignore[arg-type]
        await server.broker.until(lambda: server.broker.count(EVENTS) == 1)
        await one_round(server, 2)

    assert abandoned(play(scenario, tmp_path)) == [(1, reason)]


def test_the_wrong_model_for_the_data_ends_the_agent(tmp_path: Path) -> None:
    artifact = artifact_folder("har-cnn1d")
    published: list[MemoryBroker] = []

    async def whole() -> None:
        broker = MemoryBroker()
        published.append(broker)
        async with (
            ScriptedServer(broker, artifact).running() as server,
            running_agent(broker, tmp_path) as agent,
        ):
            await server.open(server.offer(1))
            async with asyncio.timeout(20):
                await asyncio.wait({agent.task})

    with pytest.raises(MisfitError, match="wrong model for the data"):
        asyncio.run(whole())
    assert abandoned(published[0]) == [(1, Reason.WRONG_SCHEMA)]


def test_a_diverging_round_is_abandoned_and_the_next_is_trained(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        good = server.params
        server.params = np.full(good.size, 1e30, np.float32)
        await server.open(server.offer(1))
        await server.broker.until(lambda: server.broker.count(EVENTS) == 1)
        server.params = good
        await one_round(server, 2)

    assert abandoned(play(scenario, tmp_path)) == [(1, Reason.TRAINING_FAILED)]
