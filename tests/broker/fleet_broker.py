"""A real mosquitto that knows a fleet's certificates, and lets each only where it may.

The rules are the least that scenarios need; those that people use are the product's.
"""

import getpass
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker_server.embedded_broker import LOOPBACK
from broker_server.fleet import Fleet
from broker_server.fleet_folder import FleetFolder
from tests.broker.broker_fixtures import Mosquitto

_CONF = """
listener {port} {host}
allow_anonymous false
require_certificate true
use_identity_as_username true
use_username_as_clientid true
cafile {fleet}/authority.crt
certfile {fleet}/broker.crt
keyfile {fleet}/broker.key
crlfile {fleet}/revoked.crl
acl_file {access}
persistence false
user {user}
"""
_ACCESS = """
pattern read edgefed/1/{fleet}/server/#
pattern read edgefed/1/{fleet}/round/#
pattern read edgefed/1/{fleet}/blob/#
pattern readwrite edgefed/1/{fleet}/d/%u/#
pattern readwrite edgefed/1/{fleet}/enroll/%u/#

user server.edgefed
topic readwrite edgefed/1/{fleet}/#
"""


class FleetBroker(Mosquitto):
    """A broker on loopback, and the folder of its fleet."""

    def __init__(self, folder: Path, *, fleet: str = "home") -> None:
        super().__init__(folder)
        self.fleet = FleetFolder.create(
            folder / "fleet",
            Fleet(fleet, (LOOPBACK, "localhost"), self.port),
            now=time.time(),
            random=os.urandom,
        )
        access = folder / "access.acl"
        access.write_text(_ACCESS.format(fleet=fleet))
        access.chmod(0o600)
        self._config.write_text(
            _CONF.format(
                port=self.port,
                host=LOOPBACK,
                fleet=self.fleet.path,
                access=access,
                user=getpass.getuser(),
            )
        )

    def reload(self) -> None:
        """Let it read again who is locked out."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)


@pytest.fixture
def fleet_broker(tmp_path: Path) -> Iterator[FleetBroker]:
    """Return a running broker of a new fleet, the test's own."""
    broker = FleetBroker(tmp_path)
    broker.start()
    yield broker
    broker.kill()
