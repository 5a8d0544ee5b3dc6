"""The agent in scenarios: a whole round, and what goes wrong in one."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.artifacts import Artifact, remember_passed
from edge_agent.examples import MisfitError
from model_zoo.zoo import artifact_folder
from tests.edge_agent.agents import RunningAgent, finding, running_agent
from tests.edge_agent.scripted_server import RESEND_S, TOPICS, ScriptedServer
from tests.fakes import MemoryBroker
from wire_protocol.codecs import codec_named
from wire_protocol.errors import Reason
from wire_protocol.framing import expect, frame
from wire_protocol.manifest import Manifest
from wire_protocol.messages import Abandoned, Block, CheckIn, Need
from wire_protocol.transfer import blob_ref, cut

Scenario = Callable[[ScriptedServer, RunningAgent], Awaitable[None]]
EVENTS = TOPICS.device("a", "evt")


def prepare(folder: Path, artifact: Path) -> None:
    """Put the artifact where an agent that trained before has it, self-tested."""
    raw = (artifact / "manifest.json").read_bytes()
    home = folder / "state" / "artifacts" / blob_ref(raw).sha256
    shutil.copytree(artifact, home)
    kept = Artifact(blob_ref(raw).sha256, home, Manifest.from_json(raw))
    remember_passed(kept, finding().label)


def play(scenario: Scenario, folder: Path, *, fresh: bool = False) -> MemoryBroker:
    """Run a scenario with one server and one agent; return what was published."""
    artifact = artifact_folder("digits-mlp")
    if not fresh:
        prepare(folder, artifact)

    async def whole() -> MemoryBroker:
        broker = MemoryBroker()
        async with (
            ScriptedServer(broker, artifact).running() as server,
            running_agent(broker, folder) as agent,
        ):
            await scenario(server, agent)
        return broker

    return asyncio.run(whole())


def phases(broker: MemoryBroker) -> list[str]:
    """Return the phases the agent told people."""
    states = broker.sent(TOPICS.device("a", "state"))
    return [json.loads(state)["phase"] for state in states]


def abandoned(broker: MemoryBroker) -> list[tuple[int, Reason]]:
    """Return what the agent gave up."""
    events = [expect(Abandoned, raw)[0] for raw in broker.sent(EVENTS)]
    return [(event.round, event.reason) for event in events]


async def one_round(server: ScriptedServer, number: int) -> None:
    """Offer a round, take the update and accept it."""
    await server.open(server.offer(number))
    _, transfer, head, _ = await server.update()
    assert head.round == number
    await server.receipt(number, transfer, reason=Reason.ACCEPTED)
    await server.close(number)
    await idle_after(server, number)


async def idle_after(server: ScriptedServer, number: int) -> None:
    """Wait until the agent says that it is idle after a round."""
    note = json.dumps({"phase": "idle", "round": number}, separators=(",", ":"))
    sent = server.broker.sent
    await server.broker.until(
        lambda: note.encode() in sent(TOPICS.device("a", "state"))
    )


async def phase_told(server: ScriptedServer, phase: str, *, times: int = 1) -> None:
    """Wait until the agent has told a phase so many times."""
    await server.broker.until(lambda: phases(server.broker).count(phase) >= times)


def test_a_fresh_device_takes_part_from_check_in_to_telemetry(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        await server.open(server.offer(1))
        device, transfer, head, delta = await server.update()
        assert (device, head.round, head.num_examples) == ("a", 1, 56)
        assert head.steps == 4
        assert head.evaluation is not None
        assert head.evaluation.examples == 14
        assert head.bytes_down > 30_000
        assert np.linalg.norm(delta) > 0.1
        await server.receipt(1, transfer, reason=Reason.ACCEPTED)
        await idle_after(server, 1)

    broker = play(scenario, tmp_path, fresh=True)

    check_ins = [
        expect(CheckIn, raw)[0] for raw in broker.sent(TOPICS.device("a", "info"))
    ]
    assert check_ins[0].family == "tflite"
    assert check_ins[0].num_examples == 56
    assert phases(broker) == ["fetching", "training", "reporting", "idle"]
    notes = [json.loads(raw) for raw in broker.sent(TOPICS.device("a", "telemetry"))]
    assert notes[0]["round"] == 1
    assert notes[0]["bytes_up"] > 1000
    assert notes[0]["rss_mib"] > 10
    availability = broker.sent(TOPICS.device("a", "availability"))
    assert availability == [b"online", b"offline"]
    assert abandoned(broker) == []


def test_the_next_round_costs_one_delta_and_little_talk(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, agent: RunningAgent) -> None:
        await one_round(server, 1)
        needs, sent = len(server.needs), agent.link.traffic.bytes_sent
        updates = server.broker.count(TOPICS.device("a", "up", "+", "b", "+"))
        assert updates == 1
        step = np.random.default_rng(2).normal(0, 0.01, server.params.size)
        server.advance(step.astype(np.float32))
        await one_round(server, 2)
        assert len(server.needs) == needs + 1
        blocks = server.broker.sent(TOPICS.device("a", "up", "+", "b", "+"))
        talk = agent.link.traffic.bytes_sent - sent - len(blocks[-1])
        assert talk < 1000

    play(scenario, tmp_path)


def test_what_was_learned_and_not_sent_goes_into_the_next_update(
    tmp_path: Path,
) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        updates = []
        for number, reason in (
            (1, Reason.ACCEPTED),
            (2, Reason.NOT_FINITE),
            (3, Reason.ACCEPTED),
        ):
            await server.open(server.offer(number))
            _, transfer, _, delta = await server.update()
            updates.append(float(np.linalg.norm(delta)))
            await server.receipt(number, transfer, reason=reason)
            await idle_after(server, number)
        # the refused update comes again on top of the third
        assert updates[2] > 1.5 * updates[0]

    play(scenario, tmp_path)


def test_a_failed_round_takes_its_receipt_back(tmp_path: Path) -> None:
    norms: dict[Reason, float] = {}

    def scenario_of(verdict: Reason) -> Scenario:
        async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
            await one_round(server, 1)
            transfer = server.transfers[-1]
            await server.receipt(1, transfer, reason=verdict)
            await server.open(server.offer(2))
            *_, delta = await server.update()
            norms[verdict] = float(np.linalg.norm(delta))

        return scenario

    for verdict in (Reason.ACCEPTED, Reason.ROUND_FAILED):
        folder = tmp_path / verdict
        folder.mkdir()
        play(scenario_of(verdict), folder)
    assert norms[Reason.ROUND_FAILED] > 1.5 * norms[Reason.ACCEPTED]


def test_an_update_is_sent_again_until_its_receipt_comes(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        await server.open(server.offer(1))
        first, again = await server.update(), await server.update()
        assert first[1] == again[1]
        await server.receipt(1, first[1], reason=Reason.ACCEPTED)
        await idle_after(server, 1)
        sent = server.broker.count(TOPICS.device("a", "up", "+", "b", "+"))
        await one_round(server, 2)
        # nothing of round 1 came after its receipt
        assert server.broker.count(TOPICS.device("a", "up", "+", "b", "+")) == sent + 1

    play(scenario, tmp_path)


def test_lost_blocks_are_asked_for_again(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        offer = server.offer(1)
        lost = TOPICS.blocks(offer.keyframe.sha256, 2)
        server.broker.loses = lambda topic: (
            topic == lost and server.broker.count(lost) < 2
        )
        await server.open(offer)
        await server.update()
        needs = [
            expect(Need, raw)[0]
            for raw in server.broker.sent(TOPICS.device("a", "need"))
        ]
        asked = [need.missing for need in needs if need.blob == offer.keyframe]
        assert asked == ["", "4"]  # all, then the third block

    play(scenario, tmp_path)


def test_a_cut_connection_is_survived_at_every_phase(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, agent: RunningAgent) -> None:
        for number, phase in enumerate(("fetching", "training", "reporting"), 1):
            await server.open(server.offer(number))
            await phase_told(server, phase, times=number)
            agent.link.cut()
            agent.link.restore()
            _, transfer, head, _ = await server.update()
            while head.round != number:
                _, transfer, head, _ = await server.update()
            await server.receipt(number, transfer, reason=Reason.ACCEPTED)
            await idle_after(server, number)
            await server.close(number)

    broker = play(scenario, tmp_path)
    assert abandoned(broker) == []


def test_a_later_offer_ends_the_work_for_an_earlier_one(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        endless = server.offer(1)
        del server.blobs[endless.keyframe.sha256]
        await server.open(endless)
        await phase_told(server, "fetching")
        await one_round(server, 2)
        assert server.updates.empty()

    play(scenario, tmp_path)


def test_a_closed_round_ends_its_work_without_a_word(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        endless = server.offer(1)
        del server.blobs[endless.keyframe.sha256]
        await server.open(endless)
        await phase_told(server, "fetching")
        await server.close(1)
        await idle_after(server, 1)

    assert abandoned(play(scenario, tmp_path)) == []


def test_a_spent_budget_is_told(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        endless = replace(server.offer(1), budget_s=2 * RESEND_S)
        del server.blobs[endless.keyframe.sha256]
        await server.open(endless)
        await server.broker.until(lambda: server.broker.count(EVENTS) == 1)

    assert abandoned(play(scenario, tmp_path)) == [(1, Reason.BUDGET_SPENT)]


def test_leaving_in_the_middle_is_told(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        endless = server.offer(1)
        del server.blobs[endless.keyframe.sha256]
        await server.open(endless)
        await phase_told(server, "fetching")

    broker = play(scenario, tmp_path)
    assert abandoned(broker) == [(1, Reason.LEAVING)]
    assert broker.retained[TOPICS.device("a", "availability")] == b"offline"


def test_an_offer_to_others_is_none(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        await server.open(server.offer(1, devices=("b", "c")))
        await one_round(server, 2)

    broker = play(scenario, tmp_path)
    assert phases(broker).count("fetching") == 1


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


def test_every_codec_of_an_offer_is_used(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        for number, codec in enumerate(("f32", "f16", "int8", "uq:4"), 1):
            await server.open(replace(server.offer(number), codec=codec))
            _, transfer, head, _ = await server.update()
            assert codec_named(head.codec).name == codec
            await server.receipt(number, transfer, reason=Reason.ACCEPTED)
            await idle_after(server, number)

    play(scenario, tmp_path)
