"""The agent on a broker that loses messages it acknowledged."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.edge_agent.agents import RunningAgent
from tests.edge_agent.scenes import (
    EVENTS,
    abandoned,
    idle_after,
    one_round,
    play,
)
from tests.edge_agent.scripted_server import TOPICS, ScriptedServer
from wire_protocol.errors import Reason


def test_a_refusal_that_was_lost_is_said_again_when_the_offer_is(
    tmp_path: Path,
) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        offer = replace(server.offer(1), codec="mp3")
        await server.open(offer)
        await server.broker.until(lambda: server.broker.count(EVENTS) == 1)
        await server.open(offer)
        await server.broker.until(lambda: server.broker.count(EVENTS) == 2)

    told = abandoned(play(scenario, tmp_path))
    assert told == [(1, Reason.WRONG_CODEC)] * 2


def test_an_offer_that_comes_before_the_server_info_waits_and_asks_for_it(
    tmp_path: Path,
) -> None:
    async def scenario(server: ScriptedServer, agent: RunningAgent) -> None:
        retained = server.broker.retained
        info = retained.pop(TOPICS.server_info)
        await server.open(server.offer(1))
        await server.broker.until(lambda: len(agent.link.filters) >= 3)
        retained[TOPICS.server_info] = info  # never delivered, but kept
        await server.update()

    play(scenario, tmp_path)


def test_a_server_that_begins_anew_may_offer_the_same_round_again(
    tmp_path: Path,
) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        await one_round(server, 1)
        await one_round(server, 1)

    play(scenario, tmp_path)


def test_what_a_restarted_device_sends_twice_is_not_learned_twice(
    tmp_path: Path,
) -> None:
    norms: dict[Reason, float] = {}
    for verdict in (Reason.ACCEPTED, Reason.DUPLICATE):

        async def scenario(
            server: ScriptedServer, _agent: RunningAgent, *, reason: Reason = verdict
        ) -> None:
            await server.open(server.offer(1))
            _, transfer, _, _ = await server.update()
            await server.receipt(1, transfer, reason=reason)
            await idle_after(server, 1)
            await server.open(server.offer(2))
            *_, delta = await server.update()
            norms[reason] = float(np.linalg.norm(delta))

        folder = tmp_path / verdict
        folder.mkdir()
        play(scenario, folder)
    assert norms[Reason.DUPLICATE] == norms[Reason.ACCEPTED]
