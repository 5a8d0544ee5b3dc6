"""A running broker with our policy, and a connection for each who is admitted."""

import itertools
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.broker.broker_fixtures import Mosquitto, free_port
from tests.broker.guarded_fleet import (
    CLAIM,
    CONSOLE,
    OTHER_CLAIM,
    SERVER,
    SPENT_CLAIM,
    TOPICS,
    GuardedFleet,
    connected,
    context,
)
from tests.broker.raw_client import RawClient
from wire_protocol.link import TlsFiles

A, B = "porch", "cellar"
ROOT = TOPICS.root
NOT_AUTHORIZED = 0x87
_PAYLOADS = itertools.count()


@dataclass
class World:
    """A running broker, and one connection for each who is admitted."""

    fleet: GuardedFleet
    port: int
    files: dict[str, TlsFiles]
    clients: dict[str, RawClient] = field(default_factory=dict)

    def __getitem__(self, name: str) -> RawClient:
        if name not in self.clients:
            self.clients[name] = connected(self.port, self.files[name])
        return self.clients[name]

    def hang_up(self, name: str) -> None:
        if name in self.clients:
            self.clients.pop(name).sock.close()

    def context(self, name: str) -> ssl.SSLContext:
        return context(self.files[name])

    def fresh(self) -> bytes:
        return b"message %d" % next(_PAYLOADS)

    def own_topic(self, name: str) -> str:
        """A topic that ``name`` hears; all but a console may also write it."""
        if name == CONSOLE:
            return TOPICS.server_state
        if name.startswith("claim."):
            return f"{ROOT}/enroll/{name}/res"
        return f"{ROOT}/d/{name}/cmd/need" if name != SERVER else f"{ROOT}/server/info"

    def seen_by(self, name: str, act: Callable[[], object]) -> list[bytes]:
        """Return payloads that came to ``name`` from before ``act`` until after it."""
        act()
        barrier = self.fresh()
        if name != SERVER:
            self[name].subscribe(self.own_topic(name))
        assert self[SERVER].publish(self.own_topic(name), barrier) == 0
        return [message.payload for message in self[name].until(barrier)]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    fleet = GuardedFleet(tmp_path_factory.mktemp("fleet"))
    files = {
        A: fleet.join(A),
        B: fleet.join(B),
        "stolen": fleet.join("stolen", revoked=True),
        "reborn": fleet.join("reborn", revoked=True),
        CLAIM: fleet.open_claim(CLAIM),
        OTHER_CLAIM: fleet.open_claim(OTHER_CLAIM),
        SPENT_CLAIM: fleet.open_claim(SPENT_CLAIM, spent=True),
        SERVER: fleet.server_files,
        CONSOLE: fleet.issue(CONSOLE)[0],
    }
    # a certificate that is on no list, of a name that is
    files["reborn"] = fleet.issue("reborn")[0]
    broker = Mosquitto(fleet.path, policy=fleet.policy(free_port()))
    broker.start()
    made = World(fleet, broker.port, files)
    try:
        made[SERVER].subscribe(f"{ROOT}/#")
        yield made
    finally:
        for client in made.clients.values():
            client.sock.close()
        broker.kill()
