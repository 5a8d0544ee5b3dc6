"""How long a federation takes to go on after its server or its broker was killed.

    make bench-recovery
    make bench-recovery ARGS='--devices 50 --repeats 5 --json'

Real processes on loopback. (1) The server is killed (SIGKILL) in the middle of a round
and started again at once: seconds until it continues the same round, and until that
round is merged. (2) ``--devices`` agents wait for a round that never begins; the
broker, which keeps nothing, is killed and started again: seconds until all said
``online``.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final

from tools.chaos.arena import Arena
from tools.chaos.conditions import Conditions
from tools.chaos.plan import ChaosPlan
from tools.chaos.staging import Staging
from tools.chaos.witness import eager_link
from tools.demo.children import Children
from tools.demo.demo import Subject, working_runtimes
from tools.demo.fleet_state import FleetState, seen
from tools.demo.workspace import FLEET, Workspace
from wire_protocol.errors import EdgefedError
from wire_protocol.link import Connected, Received
from wire_protocol.mqtt import MqttLink
from wire_protocol.topics import Topics

SERVER_TARGET_S: Final = 5.0
BROKER_TARGET_S: Final = 15.0
TRAINING_DEVICES: Final = 4
TOPICS: Final = Topics(FLEET)
_ROUND_S: Final = 0.5
_AT_ONCE: Final = 4
"""Agents that start at the same time; more would only wait for each other."""
_PATIENCE_S: Final = 120.0


async def server_recoveries(folder: Path, *, repeats: int) -> list[dict[str, float]]:
    """Kill the server ``repeats`` times, in the middle of a round each.

    Returns, for each, seconds from its death until the same round ``continued`` and was
    ``merged``.

    Raises:
        EdgefedError: Another round was begun instead.
    """
    rng = Random(0)  # noqa: S311 - instants, no secret
    rows = []
    async with _arena(
        folder, devices=TRAINING_DEVICES, conditions=Conditions(endless=True)
    ) as arena:
        for process in (arena.server, *arena.agents):
            process.begin()
        said = (TOPICS.server_availability, TOPICS.server_state, TOPICS.round("+"))
        async with _listening(arena, said) as link:
            for number in range(1, repeats + 1):
                await arena.reached(2 * number)
                await asyncio.sleep(rng.uniform(0.2, 0.8) * _ROUND_S)
                rows.append(await _server_recovery(arena, link))
    return rows


async def _server_recovery(arena: Arena, link: MqttLink) -> dict[str, float]:
    clock = asyncio.get_running_loop().time
    before = arena.fleet.server
    await arena.server.kill()
    killed = clock()
    died = False
    continued: float | None = None
    fleet = FleetState()
    async for event in link.events():
        if not isinstance(event, Received):
            continue
        levels = TOPICS.levels(event.topic)
        if levels == ("server", "availability") and event.payload == b"offline":
            died = True  # its will comes after everything it said
        if not died:
            continue
        fleet = seen(fleet, levels, event.payload)
        server = fleet.server
        offered = levels == ("round", str(before.round)) and event.payload
        if continued is None and (offered or server.round == before.round):
            continued = clock() - killed
        if server.version > before.version:
            merged = clock() - killed
            return {"continued_s": continued or merged, "merged_s": merged}
        if server.round > before.round:
            break
    raise EdgefedError(f"round {before.round} was not continued")


async def broker_recoveries(
    folder: Path, *, devices: int, repeats: int, tell: Callable[[str], object]
) -> list[float]:
    """Kill the broker ``repeats`` times; seconds until all were online again."""
    conditions = Conditions(endless=True, absent=1)
    async with _arena(folder, devices=devices, conditions=conditions) as arena:
        names = [agent.name for agent in arena.agents]
        await _all_online(arena, tell)
        said = (TOPICS.device("+", "availability"),)
        async with _listening(arena, said) as link:
            return [
                await _broker_recovery(arena, link, set(names)) for _ in range(repeats)
            ]


async def _broker_recovery(arena: Arena, link: MqttLink, missing: set[str]) -> float:
    clock = asyncio.get_running_loop().time
    await arena.broker.kill()
    killed = clock()
    reached = False
    async for event in link.events():
        reached = reached or isinstance(event, Connected)
        if reached and isinstance(event, Received) and event.payload == b"online":
            missing.discard(TOPICS.levels(event.topic)[1])
        if not missing:
            break
    return clock() - killed


async def _all_online(arena: Arena, tell: Callable[[str], object]) -> None:
    """Start server and agents, a few at a time, until all are online."""
    arena.server.begin()
    for number, agent in enumerate(arena.agents, start=1):
        agent.begin()
        wanted = number if number == len(arena.agents) else number - _AT_ONCE
        async with asyncio.timeout(_PATIENCE_S):
            await arena.observer.until(_online(wanted))
        if number % 10 == 0:
            tell(f"{number} agents started")


def _online(wanted: int) -> Callable[[FleetState], bool]:
    return lambda fleet: (
        sum(device.online for device in fleet.devices.values()) >= wanted
    )


@contextlib.asynccontextmanager
async def _listening(arena: Arena, topics: Sequence[str]) -> AsyncIterator[MqttLink]:
    """Listen at the broker, to messages that come from now on."""
    async with eager_link(arena.port, identity="bench") as link:
        for topic in topics:
            await link.subscribe(topic)
        yield link


@contextlib.asynccontextmanager
async def _arena(
    folder: Path, *, devices: int, conditions: Conditions
) -> AsyncIterator[Arena]:
    plan = ChaosPlan(devices=devices)
    subject = Subject.load(plan.federation(plan.rounds), environ=os.environ)
    staging = Staging(
        Workspace.create(
            folder, subject.federation.shards, runtimes=await working_runtimes()
        ),
        subject,
        plan,
        conditions,
        rounds=plan.rounds,
        round_s=_ROUND_S,
        rng=Random(plan.seed),  # noqa: S311 - no secret
    )
    async with (
        Children() as children,
        staging.arena(children, tell=lambda _: None, show=lambda _: None) as arena,
    ):
        yield arena


async def measure(
    folder: Path, *, devices: int, repeats: int, tell: Callable[[str], object]
) -> dict[str, object]:
    """Measure both; times are in seconds."""
    tell(f"killing the server {repeats} times")
    server = await server_recoveries(folder / "server", repeats=repeats)
    continued = [row["continued_s"] for row in server]
    merged = [row["merged_s"] for row in server]
    tell(f"starting {devices} agents")
    online = await broker_recoveries(
        folder / "broker", devices=devices, repeats=repeats, tell=tell
    )
    return {
        "devices": devices,
        "round_continued_s": _spread(continued, SERVER_TARGET_S),
        "round_merged_s": _spread(merged, SERVER_TARGET_S),
        "all_online_s": _spread(online, BROKER_TARGET_S),
    }


def _spread(times: Sequence[float], target_s: float) -> dict[str, float]:
    return {
        "median": round(statistics.median(times), 3),
        "worst": round(max(times), 3),
        "target": target_s,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench_recovery", description=__doc__)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    # that our own links lose their broker is no news here
    logging.getLogger().addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(
            measure(
                Path(folder),
                devices=args.devices,
                repeats=args.repeats,
                tell=lambda text: print(text, file=sys.stderr),
            )
        )
    if args.json:
        print(json.dumps(figures, indent=2))
        return 0
    lines = {
        "round_continued_s": "server killed, same round continued after",
        "round_merged_s": "server killed, same round merged after",
        "all_online_s": f"broker killed, all {args.devices} devices online after",
    }
    for key, line in lines.items():
        times = figures[key]
        assert isinstance(times, dict)
        print(
            f"{line} {times['median']:.2f} s median, {times['worst']:.2f} s worst "
            f"(target {times['target']:g} s)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
