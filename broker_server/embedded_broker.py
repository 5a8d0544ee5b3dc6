"""A broker of our own: started as a child on a loopback port, and stopped again.

``mosquitto`` where it is installed, else ``amqtt`` from PyPI, which is for
development only. The child has its own process group, so that Ctrl-C in a terminal
reaches the server first, and it dies with us even when we are killed.
"""

import asyncio
import contextlib
import getpass
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, TypeAlias

from broker_server.child_process import last_line, start_child, stop_child
from wire_protocol.errors import ConfigError, RefusedError
from wire_protocol.link import MAX_PAYLOAD_BYTES, PACKET_OVERHEAD_BYTES, MqttVersion

BrokerKind: TypeAlias = Literal["mosquitto", "amqtt"]
LOOPBACK: Final = "127.0.0.1"
AMQTT_NOTICE: Final = (
    "using amqtt, which is for development only (MQTT 3.1.1, some ten times slower, "
    "keeps nothing) - install mosquitto for more: sudo apt install mosquitto"
)
# Debian keeps daemons out of the PATH of ordinary users.
_DAEMON_FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
_START_S: Final = 30.0
_POLL_S: Final = 0.02
_MOSQUITTO_CONF: Final = """\
listener {port} {host}
allow_anonymous true
persistence false
max_queued_messages 0
max_packet_size {max_packet_bytes}
set_tcp_nodelay true
log_dest stderr
log_type error
log_type warning
log_type notice
user {user}
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker on the loopback interface.

    ``protocol`` is the newest MQTT version it speaks; ``notice`` is what the user
    should be told about it, or empty.
    """

    port: int
    kind: BrokerKind
    protocol: MqttVersion
    pid: int
    notice: str = ""


@contextlib.asynccontextmanager
async def embedded_broker(
    port: int, folder: Path, *, kind: Literal["auto", "mosquitto", "amqtt"] = "auto"
) -> AsyncIterator[Broker]:
    """Run a broker on loopback ``port`` (0 = any free one) while the block runs.

    Args:
        port: Where it listens.
        folder: Private to this broker: its configuration and ``broker.log``.
        kind: Which broker; ``auto`` prefers mosquitto.

    Raises:
        RefusedError: The port is taken or forbidden, or the broker did not start.
        ConfigError: No broker is installed.
    """
    kind, command = _command(kind)
    port = free_port(port)
    config, log = folder / "mosquitto.conf", folder / "broker.log"
    _prepare(config, mosquitto_conf(port))
    arguments = ["-c", str(config)] if kind == "mosquitto" else [str(port)]
    child = await start_child([*command, *arguments], log=log)
    try:
        await _accepting(child, port, log)
        yield Broker(
            port=port,
            kind=kind,
            protocol="5" if kind == "mosquitto" else "3.1.1",
            pid=child.pid,
            notice="" if kind == "mosquitto" else AMQTT_NOTICE,
        )
    finally:
        await stop_child(child)


def mosquitto_conf(port: int) -> str:
    """Return the configuration of a broker for this machine only.

    It keeps our user even when that is root: a change of user would clear the
    signal that ends the broker with its parent (prctl(2), PR_SET_PDEATHSIG).
    """
    return _MOSQUITTO_CONF.format(
        port=port,
        host=LOOPBACK,
        max_packet_bytes=MAX_PAYLOAD_BYTES + PACKET_OVERHEAD_BYTES,
        user=getpass.getuser(),
    )


def find_mosquitto() -> str | None:
    """Return the path of the mosquitto daemon, or None."""
    folders = [os.environ.get("PATH", os.defpath), *_DAEMON_FOLDERS]
    return shutil.which("mosquitto", path=os.pathsep.join(folders))


def _command(kind: str) -> tuple[BrokerKind, list[str]]:
    mosquitto = find_mosquitto()
    if mosquitto is not None and kind != "amqtt":
        return "mosquitto", [mosquitto]
    if kind != "mosquitto" and find_spec("amqtt") is not None:
        return "amqtt", [sys.executable, "-m", "broker_server.amqtt_runner"]
    raise ConfigError(
        "no MQTT broker is installed" if kind == "auto" else f"{kind} is not installed",
        remedy="sudo apt install mosquitto, or pip install amqtt",
    )


def free_port(port: int, *, host: str = LOOPBACK) -> int:
    """Return ``port``, or a free one for 0, after seeing that it can be had.

    Raises:
        RefusedError: It is taken, or forbidden.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            raise RefusedError(
                f"cannot listen on port {port}: {error.strerror}",
                remedy=f"see who holds it with 'ss -ltnp sport = :{port}', "
                "or set another [broker] port",
            ) from None
        return int(probe.getsockname()[1])


async def _accepting(child: asyncio.subprocess.Process, port: int, log: Path) -> None:
    """Wait until somebody accepts connections on ``port``, or the child is gone."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _START_S
    gone = asyncio.ensure_future(child.wait())
    try:
        while not gone.done() and loop.time() < deadline:
            try:
                _, writer = await asyncio.open_connection(LOOPBACK, port)
            except OSError:
                await asyncio.wait({gone}, timeout=_POLL_S)
                continue
            writer.close()
            await writer.wait_closed()
            return
    finally:
        gone.cancel()
    said = last_line(log) or "it said nothing"
    raise RefusedError(
        f"the broker did not start on port {port}: {said}",
        remedy=f"read {log}",
    )


def _prepare(config: Path, text: str) -> None:
    config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    config.write_text(text)
