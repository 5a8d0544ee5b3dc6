"""The broker's folder: a mosquitto's whole configuration, made from the fleet's folder.

    mosquitto.conf              limits, TLS, where the other files are
    mosquitto.acl               who may read and write what
    authority.crt               whose certificates are accepted
    revoked.crl                 which of them hold no more
    broker.{crt,key}            who the broker is

It holds all that a broker needs and no key that could make certificates, so that a
broker that is broken into gives nobody away. Everything is for its owner only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker_server.broker_policy.access import Access
from broker_server.broker_policy.program import Dialect
from broker_server.broker_policy.templates import filled
from broker_server.fleet_folder import CONSOLE_NAME, SERVER_NAME, FleetFolder
from broker_server.private_files import write_private
from wire_protocol.errors import ConfigError
from wire_protocol.link import MAX_PAYLOAD_BYTES, PACKET_OVERHEAD_BYTES

MAX_PACKET_BYTES: Final = MAX_PAYLOAD_BYTES + PACKET_OVERHEAD_BYTES
ANYWHERE: Final = "*"
"""Listen on every address, of IPv4 and IPv6."""
COPIED: Final = ("authority.crt", "revoked.crl", "broker.crt", "broker.key")
"""Files that are as in the fleet's folder."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a broker listens: an address of this machine, or ``*``; and its port."""

    address: str
    port: int

    @property
    def option(self) -> str:
        """What follows the port in mosquitto's ``listener``."""
        return "" if self.address == ANYWHERE else f" {self.address}"

    @property
    def reached_at(self) -> str:
        """By which address this machine itself connects."""
        if self.address in (ANYWHERE, "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            return "127.0.0.1"
        return self.address


@dataclass(frozen=True, slots=True)
class Policy:
    """What was written.

    Attributes:
        changed: Whether a file differs from before.
        admitted: Name and public key of each device and claim that may connect.
    """

    changed: bool
    admitted: frozenset[tuple[str, str]]

    def shut_since(self, before: "Policy") -> tuple[str, ...]:
        """Return whose sessions must end: who was admitted and, as such, no more is."""
        return tuple(sorted({name for name, _ in before.admitted - self.admitted}))


class PolicyFolder:
    """Where the configuration of one broker is written, again and again."""

    def __init__(
        self,
        path: Path,
        fleet: FleetFolder,
        *,
        listening: Listening,
        dialect: Dialect = "2.0",
        acl_plugin: Path | None = None,
        user: str | None = None,
    ) -> None:
        """``user`` is whom mosquitto runs as; unset: as its package has it."""
        self.path = path.absolute()
        self.fleet = fleet
        self.listening = listening
        self._dialect = dialect
        self._plugin = acl_plugin
        self._user = user

    @property
    def config(self) -> Path:
        """What mosquitto is started with."""
        return self.path / "mosquitto.conf"

    def write(self) -> Policy:
        """Bring all files up to date; those that need not change are not touched.

        Raises:
            ConfigError: A file cannot be read or written.
        """
        make_private(self.path)
        with self.fleet.locked():
            members, claims = self.fleet.members(), self.fleet.claims()
            files = {name: self._copied(name) for name in COPIED}
        access = Access(
            self.fleet.fleet.fleet,
            revoked=tuple(name for name, one in members.items() if one.revoked),
            claims=tuple(claims),
        )
        files["mosquitto.acl"] = filled(
            "mosquitto.acl",
            fleet=access.fleet,
            root=access.root,
            server=SERVER_NAME,
            console=CONSOLE_NAME,
            shut=access.mosquitto(),
        ).encode()
        files[self.config.name] = self._mosquitto_conf().encode()
        changed = [write_changed(self.path / name, raw) for name, raw in files.items()]
        admitted = {(n, one.public) for n, one in members.items() if not one.revoked}
        admitted |= {
            (name, one.public) for name, one in claims.items() if not one.spent
        }
        return Policy(any(changed), frozenset(admitted))

    def _mosquitto_conf(self) -> str:
        text = filled(
            f"mosquitto-{self._dialect}.conf",
            fleet=self.fleet.fleet.fleet,
            folder=self.path,
            port=self.listening.port,
            listen=self.listening.option,
            max_packet_bytes=MAX_PACKET_BYTES,
            acl_plugin=self._plugin,
        )
        return text if self._user is None else f"{text}\nuser {self._user}\n"

    def _copied(self, name: str) -> bytes:
        path = self.fleet.path / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be read: {error.strerror}",
                remedy="run this as the user the fleet's folder belongs to",
            ) from error


def make_private(path: Path) -> None:
    """Make a folder for its owner only; one that is there stays as it is.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be made: {error.strerror}", remedy="name another folder"
        ) from error


def write_changed(path: Path, content: bytes) -> bool:
    """Write a private file unless it is so already; return whether it was written.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        if path.read_bytes() == content and not path.stat().st_mode & 0o077:
            return False
    except OSError:
        pass  # not there, or not ours: writing it will tell
    write_private(path, content)
    return True
