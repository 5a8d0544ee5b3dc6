"""A device that joins: its folder, its configuration, and one attempt."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_agent.config import (
    AgentConfig,
    BrokerSettings,
    DeviceSettings,
    SecuritySettings,
)
from edge_agent.data_settings import DataSettings
from edge_agent.joining.claim import read_claim
from edge_agent.joining.joining import Attempt, join
from edge_agent.membership import IdentityFolder, Membership
from tests.edge_agent.joining.scripted_desk import Network, ScriptedDesk
from tests.virtual_time import run_virtually


def configured(
    folder: Path,
    *,
    device: str = "kitchen",
    fleet: str = "home",
    broker: BrokerSettings | None = None,
) -> AgentConfig:
    """Return the configuration of a device in ``folder``."""
    return AgentConfig(
        DeviceSettings(device, folder / "state", fleet=fleet),
        DataSettings(folder / "e.npz"),
        broker=broker or BrokerSettings(),
        security=SecuritySettings(folder / "identity"),
    )


def identity_of(folder: Path) -> IdentityFolder:
    """Return the identity of the device in ``folder``."""
    return IdentityFolder(folder / "identity")


async def joining(
    folder: Path,
    desk: ScriptedDesk,
    *,
    token: str | None = None,
    anew: bool = False,
    timeout_s: float = 5.0,
    device: str = "kitchen",
    fleet: str = "home",
    broker: BrokerSettings | None = None,
    network: Network | None = None,
) -> Membership:
    """Join the fleet of ``desk``, over a network in memory."""
    network = network or Network()
    serving = asyncio.create_task(desk.serve(network.broker.link()))
    try:
        return await join(
            configured(folder, device=device, fleet=fleet, broker=broker),
            read_claim(token or desk.token()),
            attempt=Attempt(
                os.urandom, timeout_s=timeout_s, anew=anew, connect=network.connect
            ),
        )
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


def joined(folder: Path, desk: ScriptedDesk, **more: Any) -> Membership:
    """Join; waiting takes no time."""
    return run_virtually(joining(folder, desk, **more))
