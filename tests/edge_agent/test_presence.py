"""What a device says of itself, how often, and what that writes."""

import json
from dataclasses import replace
from pathlib import Path

from edge_agent.conditions import Hindrance
from edge_agent.journal import to_bytes
from edge_agent.state_files import StateFiles
from tests.edge_agent.agents import RunningAgent, running_agent
from tests.edge_agent.scenes import (
    abandoned,
    idle_after,
    one_round,
    phase_told,
    play,
)
from tests.edge_agent.scripted_server import TOPICS, ScriptedServer
from tests.edge_agent.test_restarts import tell
from wire_protocol.errors import Reason
from wire_protocol.framing import expect
from wire_protocol.messages import CheckIn

AVAILABILITY = TOPICS.device("a", "availability")
INFO = TOPICS.device("a", "info")


def busy(server: ScriptedServer) -> list[int]:
    """Return the rounds that the check-ins named, without repetitions."""
    told = [expect(CheckIn, raw)[0].busy for raw in server.broker.sent(INFO)]
    return [one for index, one in enumerate(told) if told[index - 1 : index] != [one]]


def test_an_idle_agent_writes_nothing(tmp_path: Path) -> None:
    async def story(server: ScriptedServer, home: Path) -> None:
        files = StateFiles(home / "state")
        async with running_agent(server.broker, home, files=files) as agent:
            await one_round(server, 1)
            written = files.written_bytes
            assert written > len(to_bytes(agent.service._memory.record))
            for number in range(250):
                agent.link.cut()
                agent.link.restore()
                await server.inform()
                others = server.offer(number + 2, devices=("b",))
                await server.open(others)
                await server.close(others.round)
            await server.broker.until(lambda: server.broker.count(INFO) >= 500)
            assert files.written_bytes == written

    tell(story, tmp_path)


def test_telemetry_shows_what_was_written(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        await one_round(server, 1)

    broker = play(scenario, tmp_path)
    notes = [json.loads(raw) for raw in broker.sent(TOPICS.device("a", "telemetry"))]
    folder = tmp_path / "state"
    kept = sum(path.stat().st_size for path in (folder / "memory").iterdir())
    assert kept < notes[-1]["written_bytes"] < 4 * kept


def test_the_will_of_an_earlier_connection_is_contradicted(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, agent: RunningAgent) -> None:
        await server.broker.until(lambda: online_count(server) == 1)
        await server.say(AVAILABILITY, b"offline", retain=True)
        await server.broker.until(lambda: online_count(server) == 2)
        assert server.broker.retained[AVAILABILITY] == b"online"
        # what the broker kept from before this connection says nothing
        server.broker.retained[AVAILABILITY] = b"offline"
        agent.link.cut()
        agent.link.restore()
        await server.broker.until(lambda: online_count(server) == 3)
        await one_round(server, 1)
        assert online_count(server) == 3

    play(scenario, tmp_path)


def online_count(server: ScriptedServer) -> int:
    return server.broker.sent(AVAILABILITY).count(b"online")


def test_a_check_in_names_the_round_that_is_under_way(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, agent: RunningAgent) -> None:
        await server.broker.until(lambda: busy(server) == [0])
        await server.open(server.offer(1))
        _, transfer, _, _ = await server.update()
        agent.link.cut()
        agent.link.restore()
        await server.broker.until(lambda: busy(server) == [0, 1])
        await server.receipt(1, transfer, reason=Reason.ACCEPTED)
        await idle_after(server, 1)
        while not server.updates.empty():  # it was sent again on the new connection
            server.updates.get_nowait()
        # the receipt says it all
        await one_round(server, 2)
        assert busy(server) == [0, 1]

    play(scenario, tmp_path)


def test_a_device_that_is_free_again_without_a_word_checks_in(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, agent: RunningAgent) -> None:
        endless = server.offer(1)
        del server.blobs[endless.keyframe.sha256]
        await server.broker.until(lambda: busy(server) == [0])
        await server.open(endless)
        await phase_told(server, "fetching")
        agent.link.cut()
        agent.link.restore()
        await server.broker.until(lambda: busy(server) == [0, 1])
        await server.close(1)
        await server.broker.until(lambda: busy(server) == [0, 1, 0])

    play(scenario, tmp_path)


def test_an_unsent_update_is_sent_at_once_on_a_new_connection(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, agent: RunningAgent) -> None:
        await server.open(server.offer(1))
        await server.update()
        seen = len(server.broker.published)
        agent.link.cut()
        agent.link.restore()
        await server.update()
        topics = [topic for topic, _ in server.broker.published[seen:]]
        sent = next(i for i, topic in enumerate(topics) if "/up/" in topic)
        assert INFO in topics[:sent]

    play(scenario, tmp_path)


def test_a_device_that_is_unfit_leaves_the_round_to_others(tmp_path: Path) -> None:
    hindrances = [Hindrance(Reason.TOO_HOT, "it is 90 °C hot, the limit is 80"), None]

    async def story(server: ScriptedServer, home: Path) -> None:
        async with running_agent(
            server.broker, home, look=lambda: hindrances.pop(0)
        ) as agent:
            first = replace(server.offer(1), max_staleness=2)
            await server.open(first)
            await idle_after(server, 1)
            assert server.needs == []
            await one_round(server, 2)
            assert not agent.task.done()

    broker = tell(story, tmp_path)
    assert abandoned(broker) == [(1, Reason.TOO_HOT)]
