"""The fleet's folder: its authority, its keys, its members and open claims.

    fleet.json                  its name, and the broker's host names and port
    authority.{key,crt}         issues certificates
    signing.key                 signs what devices act on
    server.{key,crt}            the aggregator, as a client of the broker
    broker.{key,crt}            the broker
    revoked.crl                 for the broker: what holds no more
    members/<device>.json       who was vouched for, and their certificate (.crt)
    claims/<claim>.json         who may join
    gone/<serial>               serials of members that were forgotten

The folder is for its owner only. Every file is whole or absent; whoever changes members
or claims holds the folder's lock, so that server and command line may both do it. Times
and random bytes are given.
"""

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self, TypeAlias, TypeVar

from broker_server.members import Claim, Member
from wire_protocol.atomic_file import write_atomically
from wire_protocol.certificates import (
    Authority,
    Certificate,
    new_authority,
    read_certificate,
    serial_from,
)
from wire_protocol.errors import ConfigError, DecodeError, RefusedError
from wire_protocol.fields import Fields, json_object
from wire_protocol.link import TlsFiles
from wire_protocol.signing import Signer, key_to_pem, load_key
from wire_protocol.topics import check_name

SERVER_NAME: Final = "server.edgefed"
"""The aggregator's name in its certificate; no device id has a dot."""
BROKER_NAME: Final = "broker.edgefed"
CONSOLE_NAME: Final = "console.edgefed"
"""Who may look on: read everything of the fleet, and say nothing."""
YEAR_S: Final = 365.25 * 24 * 3600
LONG_S: Final = 10 * YEAR_S
"""How long certificates of server and broker hold; ``fleet renew`` makes new ones."""
TLS_PORT: Final = 8883
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
"""A server beside its broker connects by these."""
_MAX_HOSTS: Final = 32
_REMEDY: Final = "name the folder that 'edgefed fleet init' made"

T = TypeVar("T")
RandomBytes: TypeAlias = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What ``fleet.json`` says.

    ``hosts`` are the names and addresses the broker is reached by, the first of them by
    devices; ``port`` is its TLS port.
    """

    fleet: str
    hosts: tuple[str, ...]
    port: int = TLS_PORT

    def __post_init__(self) -> None:
        check_name(self.fleet, what="fleet")
        if not 1 <= len(self.hosts) <= _MAX_HOSTS:
            raise ConfigError(
                f"a broker has 1 to {_MAX_HOSTS} names, not {len(self.hosts)}",
                remedy="give --host once for each name or address",
            )

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Parse, or raise ``DecodeError`` or ``ConfigError``."""
        fields = Fields(json_object(raw, what="fleet.json"), owner="fleet")
        return cls(
            fields.text("fleet", longest=32),
            fields.texts("hosts", most=_MAX_HOSTS),
            fields.whole("port", least=1, most=65_535),
        )

    def to_json(self) -> bytes:
        """Return the file's content."""
        plain = {"fleet": self.fleet, "hosts": list(self.hosts), "port": self.port}
        return (json.dumps(plain, indent=1) + "\n").encode()


class FleetFolder:
    """An existing folder; ``create`` makes one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.fleet = Fleet.from_json((path / "fleet.json").read_bytes())
        except (OSError, DecodeError) as error:
            raise ConfigError(
                f"{path} is no fleet's folder: {error}", remedy=_REMEDY
            ) from error

    @classmethod
    def create(
        cls, path: Path, fleet: Fleet, *, now: float, random: RandomBytes
    ) -> Self:
        """Found a fleet in ``path``.

        Raises:
            RefusedError: There is one already; it stays as it is.
            ConfigError: The folder cannot be made.
        """
        if (path / "fleet.json").exists():
            raise RefusedError(
                f"{path} holds a fleet already; a new one would lock out its devices",
                remedy="name another folder, or use this one as it is",
            )
        try:
            for folder in (path, path / "members", path / "claims", path / "gone"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be made: {error.strerror}", remedy="name another folder"
            ) from error
        signer = Signer(random(32))
        authority = new_authority(
            f"edgefed {fleet.fleet}", signer, serial=serial_from(random(15))
        )
        write_private(path / "authority.key", key_to_pem(signer))
        write_private(path / "authority.crt", authority.certificate.pem)
        write_private(path / "signing.key", key_to_pem(Signer(random(32))))
        # Last: with it the folder is a fleet's, and whole.
        write_private(path / "fleet.json", fleet.to_json())
        made = cls(path)
        made.renew(now=now, random=random)
        made.write_revoked()
        return made

    # --- keys -----------------------------------------------------------------------

    @property
    def signer(self) -> Signer:
        """The key that signs what devices act on."""
        return load_key(self.path / "signing.key")

    @property
    def authority(self) -> Authority:
        """Who issues certificates."""
        certificate = self._certificate("authority")
        return Authority(certificate, load_key(self.path / "authority.key"))

    @property
    def server_tls(self) -> TlsFiles:
        """How the aggregator meets the broker."""
        return TlsFiles(
            self.path / "authority.crt",
            self.path / "server.crt",
            self.path / "server.key",
        )

    def server_certificate(self) -> Certificate:
        """The aggregator's certificate."""
        return self._certificate("server")

    def broker_certificate(self) -> Certificate:
        """The broker's certificate."""
        return self._certificate("broker")

    def renew(self, *, now: float, random: RandomBytes) -> None:
        """Make new keys and certificates for server and broker."""
        for name, common_name in (("server", SERVER_NAME), ("broker", BROKER_NAME)):
            signer = Signer(random(32))
            certificate = self.authority.issue(
                common_name,
                signer.public,
                serial=serial_from(random(15)),
                not_after=now + LONG_S,
                server=name == "broker",
                hosts=_hosts(self.fleet) if name == "broker" else (),
            )
            write_private(self.path / f"{name}.key", key_to_pem(signer))
            write_private(self.path / f"{name}.crt", certificate.pem)

    def _certificate(self, name: str) -> Certificate:
        path = self.path / f"{name}.crt"
        try:
            return read_certificate(path.read_bytes())
        except (OSError, DecodeError) as error:
            raise ConfigError(f"{path}: {error}", remedy=_REMEDY) from error

    # --- members and claims ---------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing members and claims meanwhile."""
        with (self.path / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def changed(self) -> tuple[int, int]:
        """A stamp that differs after every change of members or claims."""
        return (
            (self.path / "members").stat().st_mtime_ns,
            (self.path / "claims").stat().st_mtime_ns,
        )

    def members(self) -> dict[str, Member]:
        """Return everyone who was ever vouched for and not forgotten, by id."""
        found = (
            self._read(path, Member.from_json)
            for path in sorted((self.path / "members").glob("*.json"))
        )
        return {one.device: one for one in found if one is not None}

    def member(self, device: str) -> Member | None:
        """Return one member, if it is one."""
        return self._read(
            self._member_path(check_name(device, what="device")), Member.from_json
        )

    def claims(self) -> dict[str, Claim]:
        """Return every claim, by name, used and ended ones too."""
        found = (
            self._read(path, Claim.from_json)
            for path in sorted((self.path / "claims").glob("*.json"))
        )
        return {one.claim: one for one in found if one is not None}

    def keep_claim(self, claim: Claim) -> None:
        """Write a claim down; within ``locked``."""
        write_private(self.path / "claims" / f"{claim.claim}.json", claim.to_json())

    def drop_claim(self, claim: str) -> None:
        """Forget a claim; within ``locked``."""
        (self.path / "claims" / f"{claim}.json").unlink(missing_ok=True)

    def keep_member(
        self, member: Member, certificate: Certificate | None = None
    ) -> None:
        """Write a member down, and its new certificate; within ``locked``."""
        path = self._member_path(member.device)
        if certificate is not None:
            write_private(path.with_suffix(".crt"), certificate.pem)
        write_private(path, member.to_json())

    def member_certificate(self, device: str) -> Certificate:
        """Return the newest certificate of a member."""
        return self._certificate(f"members/{device}")

    def forget_member(self, member: Member) -> None:
        """Forget a member; what it is locked out of stays shut; within ``locked``."""
        write_private(self.path / "gone" / member.serial, b"")
        self._member_path(member.device).unlink(missing_ok=True)
        self._member_path(member.device).with_suffix(".crt").unlink(missing_ok=True)

    def revoke(self, device: str, *, why: str, now: float) -> Member:
        """Lock a member out for ever, and tell the broker's list.

        Raises:
            ConfigError: There is no such member.
        """
        with self.locked():
            member = self.member(device)
            if member is None:
                raise ConfigError(
                    f"{device} is no member of fleet {self.fleet.fleet}",
                    remedy="edgefed devices list shows who is",
                )
            if not member.revoked:
                member = replace(member, revoked=now, why=why)
                self.keep_member(member)
            self.write_revoked()
        return member

    def revoked_serials(self) -> tuple[str, ...]:
        """Return the serial numbers that hold no more, sorted."""
        gone = {path.name for path in (self.path / "gone").glob("*")}
        shut = {one.serial for one in self.members().values() if one.revoked}
        used = {one.serial for one in self.claims().values() if one.taken_by}
        return tuple(sorted(gone | shut | used))

    def write_revoked(self) -> None:
        """Write the broker's list of certificates that hold no more."""
        serials = self.revoked_serials()
        path = self.path / "revoked.crl"
        raw = self.authority.revocation_list(serials, number=len(serials))
        write_private(path, raw)

    def _member_path(self, device: str) -> Path:
        return self.path / "members" / f"{device}.json"

    def _read(self, path: Path, parse: Callable[[bytes], T]) -> T | None:
        try:
            return parse(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, DecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error


def _hosts(fleet: Fleet) -> tuple[str, ...]:
    """Return the broker's names, with those by which its own machine knows it."""
    return tuple(dict.fromkeys((*fleet.hosts, *LOCAL_HOSTS)))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        write_atomically(path, content, mode=0o600)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}",
            remedy="run this as the user the fleet's folder belongs to",
        ) from error
