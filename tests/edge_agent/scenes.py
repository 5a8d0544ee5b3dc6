"""Scenes for the agent: one scripted server, one agent, and what they said."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from edge_agent.artifacts import Artifact, remember_passed
from edge_agent.runtimes import RuntimeName
from edge_agent.state_files import StateFiles
from model_zoo.zoo import artifact_folder
from tests.edge_agent.agents import RunningAgent, finding, running_agent
from tests.edge_agent.scripted_server import TOPICS, ScriptedServer
from tests.fakes import MemoryBroker
from wire_protocol.errors import Reason
from wire_protocol.framing import expect
from wire_protocol.manifest import Manifest
from wire_protocol.messages import Abandoned
from wire_protocol.params import Vector
from wire_protocol.transfer import blob_ref

Scenario = Callable[[ScriptedServer, RunningAgent], Awaitable[None]]
EVENTS = TOPICS.device("a", "evt")


def prepare(folder: Path, artifact: Path, *, runtime: RuntimeName = "litert") -> None:
    """Put the artifact where an agent that trained before has it, self-tested."""
    raw = (artifact / "manifest.json").read_bytes()
    home = folder / "state" / "artifacts" / blob_ref(raw).sha256
    shutil.copytree(artifact, home)
    kept = Artifact(blob_ref(raw).sha256, home, Manifest.from_json(raw))
    files = StateFiles(folder / "state")
    remember_passed(kept, finding(runtime).label, files=files)


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
    transfer, _ = await update_of(server, number)
    await server.receipt(number, transfer, reason=Reason.ACCEPTED)
    await server.close(number)
    await idle_after(server, number)


async def update_of(server: ScriptedServer, number: int) -> tuple[str, Vector]:
    """Wait for the update of a round, past repetitions of earlier ones."""
    while True:
        _, transfer, head, delta = await server.update()
        if head.round == number:
            return transfer, delta


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
