"""An agent whose examples come while it runs: when it takes part, and on what."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.data_settings import (
    DataSettings,
    FolderSettings,
    LabelSettings,
    MqttSettings,
    PythonSettings,
    StoreSettings,
    WindowSettings,
)
from edge_agent.feeding import open_examples
from edge_agent.state_files import StateFiles
from tests.edge_agent.agents import running_agent, write_examples
from tests.edge_agent.scenes import abandoned, idle_after
from tests.edge_agent.scripted_server import TOPICS, ScriptedServer
from tests.edge_agent.test_restarts import tell
from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import ConfigError, Reason
from wire_protocol.framing import expect
from wire_protocol.messages import CheckIn

SENSOR, LABEL = "room/pixels", "room/digit"
INFO = TOPICS.device("a", "info")


def pixels(*, least: int = 20) -> DataSettings:
    """Return settings for messages of 64 numbers, labelled by a topic."""
    return DataSettings(
        source="mqtt",
        seed=1,
        store=StoreSettings(min_examples=least, flush_s=0.1, flush_examples=16),
        window=WindowSettings(max_age_s=5.0),
        labels=LabelSettings(by="topic", topic=LABEL),
        mqtt=MqttSettings(SENSOR, {f"p{index}": f"$[{index}]" for index in range(64)}),
    )


async def publish(server: ScriptedServer, first: int, count: int) -> None:
    """Publish separable examples, each with its label before it."""
    links = server.broker.links
    await server.broker.until(lambda: any(SENSOR in link.filters for link in links))
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        label = number % 10
        values = np.zeros(64)
        values[6 * label : 6 * label + 6] = 16
        values += rng.normal(0, 1, 64)
        await server.say(LABEL, str(label).encode())
        await server.say(SENSOR, json.dumps(values.round(3).tolist()).encode())


def told(server: ScriptedServer) -> list[int]:
    """Return the numbers of examples that were told, without repetitions."""
    counts = [expect(CheckIn, raw)[0].num_examples for raw in server.broker.sent(INFO)]
    return list(dict.fromkeys(counts))


def test_a_device_joins_when_it_has_enough_and_tells_of_more(tmp_path: Path) -> None:
    async def story(server: ScriptedServer, home: Path) -> None:
        broker = server.broker
        async with running_agent(broker, home, data=pixels()) as agent:
            await broker.until(lambda: broker.count(TOPICS.device("a", "+")) > 0)
            await publish(server, 0, 10)
            await server.inform()
            # an offer to who has too little is declined, and no more than that
            await server.open(server.offer(1))
            await idle_after(server, 1)
            assert told(server) == []
            await publish(server, 10, 30)
            await broker.until(lambda: bool(told(server)) and told(server)[-1] >= 20)
            await server.open(server.offer(2))
            _, transfer, head, delta = await server.update()
            assert 20 <= head.num_examples <= 40
            assert head.evaluation is not None
            assert head.evaluation.examples >= 1
            assert np.linalg.norm(delta) > 0.1
            await server.receipt(2, transfer, reason=Reason.ACCEPTED)
            await idle_after(server, 2)
            count = told(server)[-1]
            await publish(server, 40, 40)
            await broker.until(lambda: told(server)[-1] >= 1.5 * count)
            assert all(
                b >= 1.2 * a
                for a, b in zip(told(server), told(server)[1:], strict=False)
            )
            assert not agent.service.dropped
            assert not agent.task.done()

    broker = tell(story, tmp_path)
    assert abandoned(broker) == [(1, Reason.TRAINING_FAILED)]


def test_foreign_topics_stay_foreign(tmp_path: Path) -> None:
    async def story(server: ScriptedServer, home: Path) -> None:
        async with running_agent(server.broker, home, data=pixels()) as agent:
            await server.broker.until(
                lambda: server.broker.count(TOPICS.device("a", "availability")) > 0
            )
            assert {SENSOR, LABEL} <= agent.link.filters
            await agent.link.subscribe("room/other")
            await server.say("room/other", b"1")
            await server.say(SENSOR, b"\xff" * 300_000)
            await server.say(SENSOR, b"[1, 2]")
            await publish(server, 0, 40)
            await server.broker.until(lambda: bool(told(server)))
            assert agent.service.dropped == {Reason.MALFORMED: 1}

    tell(story, tmp_path)


async def with_examples(server: ScriptedServer, home: Path) -> None:
    """Let an agent collect its examples, and end in order."""
    async with running_agent(server.broker, home, data=pixels()):
        await publish(server, 0, 40)
        await server.broker.until(lambda: bool(told(server)))


def train_of(server: ScriptedServer, *, epochs: int = 3) -> object:
    made = server.offer(1)
    return replace(made, plan=replace(made.plan, epochs=epochs), max_staleness=2)


@pytest.mark.parametrize("gone", [False, True])
def test_training_goes_on_with_the_same_examples_or_begins_anew(
    tmp_path: Path, *, gone: bool
) -> None:
    """Kill the agent after an epoch, let examples come or go, and start it again."""
    transfers: dict[str, str] = {}

    async def undisturbed(server: ScriptedServer, home: Path) -> None:
        await with_examples(server, home)
        async with running_agent(server.broker, home, data=pixels()):
            await server.open(train_of(server))  # type: ignore[arg-type]
            transfers["undisturbed"] = (await server.update())[1]

    async def killed(server: ScriptedServer, home: Path) -> None:
        await with_examples(server, home)
        dead = asyncio.Event()
        loop = asyncio.get_running_loop()

        def replace_file(path: Path, *parts: bytes) -> None:
            if dead.is_set():
                raise OSError(5, "the power is out")
            write_atomically(path, *parts)
            if path.name.startswith("checkpoint"):
                loop.call_soon_threadsafe(dead.set)
                raise OSError(5, "the power is out")

        files = StateFiles(home / "state", replace_file=replace_file)
        async with running_agent(
            server.broker, home, data=pixels(), files=files
        ) as agent:
            await server.open(train_of(server))  # type: ignore[arg-type]
            await dead.wait()
            await agent.kill()
        log = home / "state" / "examples"
        if gone:
            for path in log.iterdir():
                path.unlink()
        later = open_examples(pixels(), files=StateFiles(home / "state"))
        assert later.feed is not None
        for number in range(100, 130):
            later.feed.receive(LABEL, str(number % 10).encode(), False)
            later.feed.receive(SENSOR, json.dumps([number] * 64).encode(), False)
        later.feed.close()
        async with running_agent(server.broker, home, data=pixels(least=1)):
            _, transfers["killed"], head, _ = await server.update()
            assert (
                head.num_examples == (later.store.count() if gone else 33) or not gone
            )

    for name, story in (("undisturbed", undisturbed), ("killed", killed)):
        folder = tmp_path / name
        folder.mkdir()
        tell(story, folder)
    assert (transfers["killed"] == transfers["undisturbed"]) != gone


def test_files_that_are_added_count_in_the_next_round(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    data = DataSettings(
        source="folder", holdout=0.0, folder=FolderSettings(folder),
        store=StoreSettings(flush_s=0.1),
    )  # fmt: skip

    async def story(server: ScriptedServer, home: Path) -> None:
        async with running_agent(server.broker, home, data=data):
            await server.inform()
            write_examples(folder / "a.npz", count=30)
            await server.broker.until(lambda: told(server) == [30])
            write_examples(folder / "b.npz", count=20)
            await server.open(server.offer(1))
            _, _, head, _ = await server.update()
            assert head.num_examples == 50

    tell(story, tmp_path)


def test_a_hook_that_fails_ends_the_agent_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "sensor.py").write_text(
        "def examples(start):\n    raise OSError('no bus')\n    yield\n"
    )
    data = DataSettings(source="python", python=PythonSettings(tmp_path / "sensor.py"))

    async def story(server: ScriptedServer, home: Path) -> None:
        with pytest.raises(
            ConfigError, match="failed after 0 examples: OSError: no bus"
        ):
            async with running_agent(server.broker, home, data=data) as agent:
                await asyncio.wait({agent.task}, timeout=20)
        availability = server.broker.retained[TOPICS.device("a", "availability")]
        assert availability == b"offline"

    tell(story, tmp_path)


def test_examples_that_do_not_fit_are_told_before_training(tmp_path: Path) -> None:
    data = replace(pixels(least=1), mqtt=MqttSettings(SENSOR, {"x": "$[0]"}))

    async def story(server: ScriptedServer, home: Path) -> None:
        async with running_agent(server.broker, home, data=data) as agent:
            await publish(server, 0, 20)
            await server.broker.until(lambda: bool(told(server)))
            await server.open(server.offer(1))
            await asyncio.wait({agent.task}, timeout=20)
            assert isinstance(agent.task.exception(), ConfigError)

    with pytest.raises(ConfigError, match="wrong model for the data"):
        tell(story, tmp_path)
