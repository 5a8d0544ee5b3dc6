"""Run a federation of real processes and watch it: broker, server, agents.

The broker outlives everybody, so that the last words of server and agents are heard.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from broker_server.broker_policy.fleet_broker import fleet_broker
from broker_server.broker_policy.policy_folder import Listening
from broker_server.embedded_broker import embedded_broker, free_port
from tools.demo.children import Child, Children, StoppedEarlyError
from tools.demo.display import Display
from tools.demo.fleet_state import FleetState, observed_topics
from tools.demo.identities import admit, found_fleet, onlooker
from tools.demo.observer import FINISHED, Observer
from tools.demo.plan import DemoPlan
from tools.demo.workspace import FLEET, Workspace
from wire_protocol.link import LinkSettings, MqttVersion
from wire_protocol.mqtt import MqttLink
from wire_protocol.topics import Topics

DevicePort: TypeAlias = Callable[[str, int], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Watched:
    """What the observer saw: the fleet at the end, and how long it took."""

    fleet: FleetState
    seconds: float


async def run_federation(
    workspace: Workspace,
    plan: DemoPlan,
    *,
    display: Display,
    on_version: Callable[[int], None],
    broker_kind: Literal["auto", "mosquitto", "amqtt"] = "auto",
    device_port: DevicePort | None = None,
) -> Watched:
    """Run ``plan`` until the server says that it is finished; leave nothing running.

    Args:
        workspace: Where shards are, and configurations and logs go.
        plan: What to run.
        display: Is shown the fleet whenever it changes.
        on_version: Told of every new version of the model, in order.
        broker_kind: Which broker to start.
        device_port: Told a device and the broker's port, returns the port on which that
            device reaches the broker, such as a proxy's.

    Raises:
        StoppedEarlyError: A process died; its exit code and last line are in it.
        RefusedError: The broker did not start.
    """
    clock = asyncio.get_running_loop().time
    async with (
        started_broker(workspace, plan, kind=broker_kind) as broker,
        MqttLink(broker.onlooker, fail_fast=True) as link,
        Children() as children,
    ):
        if broker.notice:
            display.say(broker.notice)
        ports = {
            device.name: await device_port(device.name, broker.port)
            for device in workspace.devices
            if device_port is not None
        }
        workspace.configure(
            plan, port=broker.port, protocol=broker.protocol, device_ports=ports
        )
        topics = Topics(FLEET)
        for topic in observed_topics(topics):
            await link.subscribe(topic)
        began = clock()
        server, agents = await _start(children, workspace)
        display.say("Ctrl-C stops everything")
        observer = Observer(
            link,
            topics,
            devices=[device.name for device in workspace.devices],
            show=display.show,
            on_version=on_version,
        )
        display.show(observer.fleet)
        watching = asyncio.create_task(observer.watch())
        try:
            await _until_finished(observer, server, agents)
            seconds = clock() - began
            await _ended(server)
            await children.stop(agents)
            await observer.until(_everybody_left, timeout_s=2.0)
        finally:
            watching.cancel()
            await asyncio.wait({watching})
        return Watched(observer.fleet, seconds)


@dataclass(frozen=True, slots=True)
class StartedBroker:
    """A broker that runs, and how to look on."""

    port: int
    protocol: MqttVersion
    onlooker: LinkSettings
    notice: str = ""


@contextlib.asynccontextmanager
async def started_broker(
    workspace: Workspace, plan: DemoPlan, *, kind: Literal["auto", "mosquitto", "amqtt"]
) -> AsyncIterator[StartedBroker]:
    """Run the broker that ``plan`` asks for, with a fleet if it has identities."""
    folder = workspace.folder / "broker"
    if plan.protection != "none":
        port, now = free_port(0), time.time()
        fleet = found_fleet(
            workspace.fleet, FLEET, port=port, now=now, random=os.urandom
        )
        devices = [(device.name, device.identity) for device in workspace.devices]
        admit(fleet, devices, now=now, random=os.urandom)
    if plan.protection == "tls":
        listening = Listening("127.0.0.1", port)
        async with fleet_broker(fleet, folder, listening=listening):
            looking = LinkSettings(
                "localhost",
                port,
                identity="observer",
                tls=onlooker(fleet, now=now, random=os.urandom),
            )
            yield StartedBroker(port, "5", looking)
        return
    async with embedded_broker(0, folder, kind=kind) as broker:
        looking = LinkSettings(
            "127.0.0.1", broker.port, identity="observer", protocol=broker.protocol
        )
        yield StartedBroker(broker.port, broker.protocol, looking, broker.notice)


async def _start(children: Children, workspace: Workspace) -> tuple[Child, list[Child]]:
    server = await children.start(
        "the server",
        ["server", "run", "--config", str(workspace.server_config)],
        log=workspace.folder / "server.log",
    )
    agents = [
        await children.start(
            device.name,
            ["agent", "run", "--config", str(device.config)],
            log=device.log,
        )
        for device in workspace.devices
    ]
    return server, agents


async def _until_finished(
    observer: Observer, server: Child, agents: list[Child]
) -> None:
    """Wait for the end of the federation, or raise for the first child that died."""
    finished = asyncio.create_task(
        observer.until(lambda fleet: fleet.server.phase == FINISHED)
    )
    exits: Mapping[asyncio.Task[int], Child] = {
        asyncio.create_task(child.process.wait()): child for child in [server, *agents]
    }
    try:
        done, _ = await asyncio.wait(
            {finished, *exits}, return_when=asyncio.FIRST_COMPLETED
        )
        died = [exits[task] for task in done if task in exits]
        # a server that finished may leave before we have read that it did
        if died and died != [server]:
            raise StoppedEarlyError(
                next(child for child in died if child is not server)
            )
        if died and not await asyncio.wait_for(finished, timeout=2.0):
            raise StoppedEarlyError(server)
    except TimeoutError:
        raise StoppedEarlyError(server) from None
    finally:
        for task in (finished, *exits):
            task.cancel()
        await asyncio.wait({finished, *exits})


async def _ended(server: Child) -> None:
    code = await server.process.wait()
    if code:
        raise StoppedEarlyError(server)


def _everybody_left(fleet: FleetState) -> bool:
    return not any(device.online for device in fleet.devices.values())
