"""Joining: from a token to a membership on the disk."""

import asyncio
import platform
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from edge_agent.config import AgentConfig
from edge_agent.joining.asking import ASK_AGAIN_S, Wish, ask
from edge_agent.joining.claim import OpenClaim
from edge_agent.joining.staging import Staging
from edge_agent.membership import IdentityFolder, Membership
from edge_agent.presence import tls_files
from wire_protocol.certificates import Certificate
from wire_protocol.errors import (
    ConfigError,
    EdgefedError,
    RefusedError,
    ShutOutError,
    TransportError,
)
from wire_protocol.link import Link, LinkSettings, TlsFiles
from wire_protocol.mqtt import MqttLink
from wire_protocol.tls import login_of

JOIN_S: Final = 60.0
_MODEL: Final = Path("/proc/device-tree/model")
_MAX_HARDWARE: Final = 128

Connect: TypeAlias = Callable[[LinkSettings], AbstractAsyncContextManager[Link]]
"""Makes a link whose first connection holds, or raises ``TransportError``."""


def connected(settings: LinkSettings) -> AbstractAsyncContextManager[Link]:
    """Return a link to a real broker."""
    return MqttLink(settings, fail_fast=True)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a device tries to join: for how long, over what, with which random bytes.

    ``anew``: even if it is a member already, which ends when it has joined again.
    """

    random: Callable[[int], bytes]
    timeout_s: float = JOIN_S
    anew: bool = False
    connect: Connect = connected


def identity_folder(config: AgentConfig) -> IdentityFolder:
    """Return where the identity of this device is, or will be.

    Raises:
        ConfigError: The configuration does not say.
    """
    if config.security.identity_dir is None:
        raise ConfigError(
            "the configuration names no folder for the identity of this device",
            remedy=f'add the lines [security] and identity_dir = "identity/'
            f'{config.agent.device}"',
        )
    return IdentityFolder(config.security.identity_dir)


async def join(
    config: AgentConfig, claim: OpenClaim, *, attempt: Attempt
) -> Membership:
    """Become a member of the fleet of ``claim``; whoever was cut off may do it again.

    Raises:
        ConfigError: The claim is for another device or fleet, or the folder is no good.
        RefusedError: We are a member already, or the fleet refuses us.
        TransportError: Nobody answers in time.
    """
    identity = identity_folder(config)
    check_meant(config, claim)
    staging = Staging(identity)
    device, token = config.agent.device, claim.token
    member = _already(identity, claim, anew=attempt.anew)
    if member is not None:
        staging.clear()
        return member
    request = staging.request(device, random=attempt.random)
    wish = Wish(device, request, hardware(_MODEL))
    with staging.connection(claim) as files:
        settings = _settings(config, claim, files)
        certificate = await _asked(settings, claim, wish=wish, attempt=attempt)
    member = Membership(
        fleet=token.fleet,
        device=device,
        host=token.host,
        port=token.port,
        fleet_key=claim.fleet_key.public.hex(),
        claim=token.claim,
    )
    staging.commit(member, request, certificate=certificate, authority=claim.authority)
    staging.clear()
    return member


def _already(
    identity: IdentityFolder, claim: OpenClaim, *, anew: bool
) -> Membership | None:
    """Return the membership that ``claim`` gave us: we were cut off right after it.

    Raises:
        RefusedError: There is another one, which is not to be given up.
        ConfigError: There is one, but damaged, and it is not to be given up.
    """
    if not identity.joined:
        return None
    try:
        member = identity.membership()
    except ConfigError:
        if anew:
            return None
        raise
    if member.claim == claim.token.claim:
        return member
    if anew:
        return None
    raise RefusedError(
        f"this device is {member.device!r} of fleet {member.fleet!r} already",
        remedy="nothing is to be done; if it was locked out, add --anew",
    )


def check_meant(config: AgentConfig, claim: OpenClaim) -> None:
    """Raise ``ConfigError`` unless ``claim`` is for this device and its fleet."""
    told, token = config.agent, claim.token
    if token.fleet != told.fleet:
        raise ConfigError(
            f"the token is of fleet {token.fleet!r}, but [agent] fleet is "
            f"{told.fleet!r}",
            remedy=f'set fleet = "{token.fleet}", or take a token of your fleet',
        )
    if token.device not in ("", told.device):
        raise ConfigError(
            f"the token is for device {token.device!r}, but [agent] device is "
            f"{told.device!r}",
            remedy=f'set device = "{token.device}", or take a token without a name',
        )


async def _asked(
    settings: LinkSettings, claim: OpenClaim, *, wish: Wish, attempt: Attempt
) -> Certificate:
    """Connect as the claim, again and again, and ask until the time is over."""
    trouble: list[EdgefedError] = []

    def tell(problem: str) -> None:
        trouble[:] = [TransportError(problem)]

    try:
        async with asyncio.timeout(attempt.timeout_s):
            while True:
                try:
                    async with attempt.connect(settings) as link:
                        trouble.clear()
                        return await ask(link, claim, wish=wish, tell=tell)
                except ShutOutError:
                    raise
                except TransportError as error:
                    trouble[:] = [error]
                await asyncio.sleep(ASK_AGAIN_S)
    except TimeoutError:
        raise _too_late(trouble, attempt.timeout_s) from None


def _too_late(trouble: list[EdgefedError], timeout_s: float) -> TransportError:
    if trouble:
        return TransportError(
            f"not joined after {timeout_s:g} s: {trouble[0].problem}",
            remedy=trouble[0].remedy
            or "check the broker and the network, and try again with the same token",
        )
    return TransportError(
        f"the broker is there, but no server of the fleet answered in {timeout_s:g} s",
        remedy="start 'edgefed server run' with the fleet's folder, and try again "
        "with the same token",
    )


def _settings(config: AgentConfig, claim: OpenClaim, files: TlsFiles) -> LinkSettings:
    """Return how to connect as the claim; with a name and password, if told to."""
    return LinkSettings(
        config.broker.host or claim.token.host,
        config.broker.port or claim.token.port,
        identity=claim.token.claim,
        tls=tls_files(config.broker, files),
        login=login_of(config.broker.username, config.broker.password_file),
        protocol=config.broker.protocol,
    )


def hardware(model: Path) -> str:
    """Return what this device is, for people: a board's name, else the processor's."""
    try:
        told = model.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        told = ""
    return (told or platform.machine() or "unknown")[:_MAX_HARDWARE]
