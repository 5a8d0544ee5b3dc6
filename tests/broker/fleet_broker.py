"""A real mosquitto that knows a fleet's certificates, with its access rules."""

from pathlib import Path

from broker_server.fleet_folder import Fleet, FleetFolder
from tests.broker.broker_fixtures import Mosquitto, free_port

LOOPBACK = "127.0.0.1"
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
acl_file {folder}/access.acl
persistence false
user root
log_type all
"""
_ACCESS = """
topic read edgefed/1/{fleet}/server/#
topic read edgefed/1/{fleet}/round/#
topic read edgefed/1/{fleet}/blob/#
pattern readwrite edgefed/1/{fleet}/d/%u/#
pattern readwrite edgefed/1/{fleet}/enroll/%u/#

user server.edgefed
topic readwrite edgefed/1/{fleet}/#
"""


class FleetBroker(Mosquitto):
    """A broker on loopback, of a fleet's folder that is made with it."""

    def __init__(self, folder: Path, *, now: float, fleet: str = "home") -> None:
        super().__init__(folder)
        self.port = free_port()
        self.fleet = FleetFolder.create(
            folder / "fleet",
            Fleet(fleet, (LOOPBACK, "localhost"), self.port),
            now=now,
            random=lambda count: (b"fleet" * 7)[:count],
        )
