"""A device's life in a fleet: it joins, trains, is renewed, and is locked out.

Real processes and a real broker that asks for certificates. The device's clock says
1970, as a board's without a battery; server and broker have the true time.
"""

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from broker_server.embedded_broker import LOOPBACK
from broker_server.fleet_folder import FleetFolder
from edge_agent.joining.claim import read_claim
from edge_agent.joining.joining import Attempt, join
from tests.broker.broker_fixtures import free_port
from tests.edge_agent.agents import write_examples
from tests.edge_agent.joining.joins import configured, identity_of
from tests.scenarios.watched import Watched, watched
from tools.chaos.clocks import MISSING, FalseClock, clear_shared_memory, find_library
from tools.cli import main
from wire_protocol.tls import client_context

pytestmark = [pytest.mark.broker, pytest.mark.slow]

SERVER = """
[server]
state_dir = "server"
resend_s = 0.5
[broker]
host = "127.0.0.1"
port = {port}
[security]
fleet_dir = "fleet"
[model]
artifact = "digits-mlp"
[round]
deadline_s = 30.0
"""
AGENT = """
[agent]
device = "{device}"
state_dir = "{device}/state"
runtime = "onnxruntime"
[security]
identity_dir = "{device}/identity"
[data]
examples = "{device}/e.npz"
"""


@dataclass(frozen=True, slots=True)
class Home:
    """A fleet with its broker, and a clock that is wrong."""

    folder: Path
    fleet: FleetFolder
    clock: FalseClock
    stack: ExitStack
    lost: list[int] = field(default_factory=list)
    """Processes that the wrong clock was given to."""

    def device(self, name: str) -> Path:
        """Write a device's configuration and examples."""
        (self.folder / name).mkdir()
        write_examples(self.folder / name / "e.npz")
        path = self.folder / f"{name}.toml"
        path.write_text(AGENT.format(device=name))
        return path

    def token(self, device: str) -> Path:
        """Make a token for a device."""
        path = self.folder / f"{device}.token"
        words = ("devices", "join", "--fleet-dir", str(self.fleet.path))
        assert main([*words, "--device", device, "--out", str(path)]) == 0
        return path

    def run(self, *words: str, lost_in_time: bool = False) -> Watched:
        """Run a command until the test ends."""
        prefix = self.clock.prefix if lost_in_time else ()
        command = self.stack.enter_context(
            watched(*words, cwd=self.folder, prefix=prefix)
        )
        if lost_in_time:
            self.lost.append(command.process.pid)
        return command

    def server(self) -> Watched:
        """Run the server, and wait until it is there."""
        server = self.run("server", "run", "--config", "server.toml")
        server.until("connected to the broker")
        return server


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    library = find_library()
    if library is None:
        pytest.fail(MISSING)
    port, fleet = free_port(), tmp_path / "fleet"
    words = ("fleet", "init", "--dir", str(fleet), "--host", LOOPBACK)
    assert main([*words, "--port", str(port)]) == 0
    (tmp_path / "server.toml").write_text(SERVER.format(port=port))
    clock = FalseClock(tmp_path / "clock", library)
    clock.set_to(60.0)
    with ExitStack() as stack:
        home = Home(tmp_path, FleetFolder(fleet), clock, stack)
        words = ("broker", "run", "--fleet-dir", "fleet", "--listen", LOOPBACK)
        home.run(*words).until("for fleet home")
        yield home
    clear_shared_memory(home.lost)


def test_a_device_in_1970_joins_trains_is_renewed_and_locked_out(home: Home) -> None:
    server = home.server()
    config, token = home.device("kitchen"), home.token("kitchen")
    words = ("agent", "join", "--config", str(config), "--token-file", str(token))
    joining = home.run(*words, "--json", lost_in_time=True)
    assert joining.process.wait(60) == 0, joining.lines
    assert not token.exists()
    server.until("kitchen has joined")

    kitchen = home.run("agent", "run", "--config", str(config), lost_in_time=True)
    assert kitchen.until("connected to the broker").startswith("1970-01-01")
    kitchen.until("the update counts", times=2)
    server.until("opens nothing any more")
    assert home.fleet.revoked_serials() == {home.fleet.claims().popitem()[1].serial}

    member = home.fleet.known_member("kitchen")
    with home.fleet.locked():
        home.fleet.keep_member(replace(member, not_after=time.time() + 3600))
    kitchen.until("the certificate was renewed")
    kitchen.until("the update counts", times=3)

    attic = home.device("attic")
    said = home.token("attic")
    home.run(
        *("agent", "join", "--config", str(attic), "--token-file", str(said))
    ).process.wait(60)
    other = home.run("agent", "run", "--config", str(attic))
    other.until("the update counts")

    revoking = ("devices", "revoke", "kitchen", "--fleet-dir", str(home.fleet.path))
    assert main([*revoking, "--why", "stolen"]) == 0
    server.until("kitchen is locked out: stolen")
    line = kitchen.until("no broker")
    if "revoked" not in line:  # the broker may have ended the session before it said so
        line = kitchen.until("was revoked")
    assert "this certificate was revoked" in line
    # the rounds go on, and without kitchen
    now = len(other.lines)
    alone = round_of(other.until("the update counts", times=3, since=now))
    assert kitchen.stop() == 0
    counted = [round_of(line) for line in kitchen.lines if "the update counts" in line]
    assert counted[-1] < alone - 1

    again = home.run("agent", "run", "--config", str(config), lost_in_time=True)
    line = again.until("no broker")
    assert "this certificate was revoked" in line
    assert "edgefed agent join --anew" in line
    assert again.process.poll() is None
    assert not any("connected to the broker" in one for one in again.lines)


def round_of(line: str) -> int:
    """Return the round that a line of an agent's log is about."""
    found = re.search(r"round (\d+):", line)
    assert found
    return int(found.group(1))


CROWD = 100
PROCESSES = 3


def test_a_hundred_devices_join_at_once(
    home: Home, record_property: Callable[[str, object], None]
) -> None:
    server = home.server()
    names = [f"device-{number}" for number in range(CROWD)]
    with_command, in_here = names[:PROCESSES], names[PROCESSES:]
    path = home.folder / "tokens"
    words = ("devices", "join", "--fleet-dir", str(home.fleet.path), "--count")
    assert main([*words, str(CROWD), "--out", str(path)]) == 0
    tokens = dict(zip(names, path.read_text().split(), strict=True))
    began = time.monotonic()
    commands = []
    for name in with_command:
        config = home.device(name)
        token = home.folder / f"{name}.token"
        token.write_text(tokens[name])
        commands.append(
            home.run(
                *("agent", "join", "--config", str(config)),
                *("--token-file", str(token)),
            )
        )

    async def all_in_here() -> None:
        await asyncio.gather(
            *(
                join(
                    configured(home.folder / name, device=name),
                    read_claim(tokens[name]),
                    attempt=Attempt(os.urandom),
                )
                for name in in_here
            )
        )

    asyncio.run(all_in_here())
    took_s = time.monotonic() - began
    assert [command.process.wait(60) for command in commands] == [0] * PROCESSES
    members = home.fleet.members()
    assert members.keys() == set(names)
    assert len({member.serial for member in members.values()}) == CROWD
    assert len({member.public for member in members.values()}) == CROWD
    for name in in_here:
        identity = identity_of(home.folder / name)
        assert identity.signer.public.hex() == members[name].public
        client_context(identity.tls)
    assert server.process.poll() is None
    record_property("took_s", took_s)
    print(f"{CROWD} devices joined in {took_s:.1f} s")  # noqa: T201 - what is measured
