"""The agent in scenarios: a whole round, and what may happen in one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.edge_agent.agents import RunningAgent
from tests.edge_agent.scenes import (
    EVENTS,
    Scenario,
    abandoned,
    idle_after,
    one_round,
    phase_told,
    phases,
    play,
)
from tests.edge_agent.scripted_server import RESEND_S, TOPICS, ScriptedServer
from wire_protocol.blobs import Need
from wire_protocol.codecs import codec_named
from wire_protocol.errors import Reason
from wire_protocol.framing import expect
from wire_protocol.messages import CheckIn


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
        asked = [need.wanted for need in needs if need.blob == offer.keyframe]
        assert asked == ["3fff", "4"]  # all, then the third block

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


def test_every_codec_of_an_offer_is_used(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, _agent: RunningAgent) -> None:
        for number, codec in enumerate(("f32", "f16", "int8", "uq:4"), 1):
            await server.open(replace(server.offer(number), codec=codec))
            _, transfer, head, _ = await server.update()
            assert codec_named(head.codec).name == codec
            await server.receipt(number, transfer, reason=Reason.ACCEPTED)
            await idle_after(server, number)

    play(scenario, tmp_path)
