"""The fleet's folder: its authority, its keys, its members and open claims.

    fleet.json                  its name, and the broker's host names and port
    authority.{key,crt}         issues certificates
    signing.key                 signs what devices act on
    server.{key,crt}            the aggregator, as a client of the broker
    broker.{key,crt}            the broker
    revoked.crl                 for the broker: what holds no more
    members/<device>.json       who was vouched for, and their certificate (.crt)
    claims/<claim>.json         who may join
    gone/<serial>               what else holds no more: of forgotten members, claims
                                that were withdrawn, server and broker before renewal
    pardons/<device>            members to be let out of quarantine by the server
    lock                        held by who changes members or claims

The folder is for its owner only. Every file is whole or absent; whoever changes members
or claims holds the folder's lock, so that server and command line may both do it. Times
and random bytes are given.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Self, TypeAlias

from broker_server.entries import Entries
from broker_server.fleet import Fleet
from broker_server.members import Claim, Member
from broker_server.private_files import remove, unusable, write_private
from wire_protocol.certificates import (
    Authority,
    Certificate,
    new_authority,
    read_certificate,
    read_revocation_list,
    serial_from,
)
from wire_protocol.errors import ConfigError, DecodeError, RefusedError
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
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
"""A server beside its broker connects by these."""
_REMEDY: Final = "name the folder that 'edgefed fleet init' made"

RandomBytes: TypeAlias = Callable[[int], bytes]


class FleetFolder:
    """An existing folder; ``create`` makes one."""

    def __init__(self, path: Path, *, fleet: Fleet | None = None) -> None:
        self.path = path
        self._members = Entries(path / "members", Member.from_json)
        self._claims = Entries(path / "claims", Claim.from_json)
        if fleet is not None:
            self.fleet = fleet
            return
        try:
            self.fleet = Fleet.from_json((path / "fleet.json").read_bytes())
        except (OSError, DecodeError, ConfigError) as error:
            raise ConfigError(
                f"{path} is no fleet's folder: fleet.json: {error}", remedy=_REMEDY
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
            for name in ("", "members", "claims", "gone", "pardons"):
                folder = path / name
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
        made = cls(path, fleet=fleet)
        made.renew(now=now, random=random)
        # Last: with it the folder is a fleet's, and whole.
        write_private(path / "fleet.json", fleet.to_json())
        return made

    def change(self, fleet: Fleet) -> None:
        """Write down other names of the broker; ``renew`` makes certificates of them.

        Raises:
            ConfigError: The fleet has another name, which its topics and members bear.
        """
        if fleet.fleet != self.fleet.fleet:
            raise ConfigError(
                f"{self.path} is of fleet {self.fleet.fleet!r}, which keeps its name",
                remedy="make another fleet in another folder",
            )
        write_private(self.path / "fleet.json", fleet.to_json())
        self.fleet = fleet

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
        """Make new keys and certificates for server and broker; shut the former out.

        Cut short, a key may be without its certificate: then do it again.
        """
        former = self._pair_serials()
        for name, common_name in (("server", SERVER_NAME), ("broker", BROKER_NAME)):
            signer = Signer(random(32))
            certificate = self.authority.issue(
                common_name,
                signer.public,
                serial=serial_from(random(15)),
                not_after=now + LONG_S,
                server=name == "broker",
                hosts=broker_hosts(self.fleet) if name == "broker" else (),
            )
            write_private(self.path / f"{name}.key", key_to_pem(signer))
            write_private(self.path / f"{name}.crt", certificate.pem)
        for serial in former:
            write_private(self.path / "gone" / serial, b"")
        self.write_revoked()

    def _pair_serials(self) -> list[str]:
        serials = []
        for name in ("server", "broker"):
            with contextlib.suppress(ConfigError):  # none yet, or one to be replaced
                serials.append(self._certificate(name).serial)
        return serials

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
        path = self.path / "lock"
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @property
    def changed(self) -> tuple[int, int]:
        """A stamp that differs after every change of members or claims.

        The clock behind it may stand still for some milliseconds: what differs now
        may change again without another stamp, but not a second later.

        Raises:
            ConfigError: The folder is not there, or not ours.
        """
        try:
            return (
                (self.path / "members").stat().st_mtime_ns,
                (self.path / "claims").stat().st_mtime_ns,
            )
        except OSError as error:
            raise unusable(self.path, error) from error

    def members(self) -> dict[str, Member]:
        """Return everyone who was ever vouched for and not forgotten, by id."""
        return self._members.all()

    def member(self, device: str) -> Member | None:
        """Return one member, if it is one."""
        return self._members.one(check_name(device, what="device"))

    def claim(self, claim: str) -> Claim | None:
        """Return one claim, by a name that ``is_claim``, if there is one."""
        return self._claims.one(claim)

    def claims(self) -> dict[str, Claim]:
        """Return every claim, by name, used and ended ones too."""
        return self._claims.all()

    def keep_claim(self, claim: Claim) -> None:
        """Write a claim down; within ``locked``."""
        write_private(self._claims.path_of(claim.claim), claim.to_json())

    def drop_claim(self, claim: Claim) -> None:
        """Forget a claim whose certificate has ended; within ``locked``."""
        remove(self._claims.path_of(claim.claim))

    def withdraw_claim(self, claim: Claim) -> None:
        """Forget a claim that nobody shall use any more; within ``locked``."""
        write_private(self.path / "gone" / claim.serial, b"")
        self.drop_claim(claim)

    def spend_claims(self, claims: Iterable[str], *, ended_before: float) -> None:
        """Close used claims, forget those that ended before a time, tell the broker."""
        with self.locked():
            for name in sorted(claims):
                claim = self.claim(name)
                if claim is not None and not claim.spent:
                    self.keep_claim(replace(claim, spent=True))
            for claim in self.claims().values():
                if claim.until < ended_before:
                    self.drop_claim(claim)
            self.write_revoked()

    def keep_member(
        self, member: Member, certificate: Certificate | None = None
    ) -> None:
        """Write a member down, and its new certificate; within ``locked``."""
        path = self._members.path_of(member.device)
        if certificate is not None:
            write_private(path.with_suffix(".crt"), certificate.pem)
        write_private(path, member.to_json())

    def member_certificate(self, device: str) -> Certificate:
        """Return the newest certificate of a member."""
        return self._certificate(f"members/{device}")

    def forget_member(self, member: Member) -> None:
        """Forget a member; what it is locked out of stays shut; within ``locked``."""
        for serial in member.serials:
            write_private(self.path / "gone" / serial, b"")
        path = self._members.path_of(member.device)
        remove(path)
        remove(path.with_suffix(".crt"))

    def known_member(self, device: str) -> Member:
        """Return one member.

        Raises:
            ConfigError: There is no such member.
        """
        member = self.member(device)
        if member is None:
            raise ConfigError(
                f"{device} is no member of fleet {self.fleet.fleet}",
                remedy="edgefed devices list shows who is",
            )
        return member

    def revoke(self, device: str, *, why: str, now: float) -> Member:
        """Lock a member out for ever, and tell the broker's list.

        Raises:
            ConfigError: There is no such member.
        """
        with self.locked():
            member = self.known_member(device)
            if not member.revoked:
                member = replace(member, revoked=now, why=why)
                self.keep_member(member)
            self.write_revoked()
        return member

    def pardon(self, device: str) -> None:
        """Ask the server to let a member out of quarantine.

        Raises:
            ConfigError: There is no such member.
        """
        member = self.known_member(device)
        write_private(self.path / "pardons" / member.device, b"")

    def pardons(self) -> list[str]:
        """Return who is to be let out of quarantine."""
        found = (path.name for path in (self.path / "pardons").glob("*"))
        return sorted(name for name in found if not name.startswith("."))

    def drop_pardon(self, device: str) -> None:
        """Note that the server has done it."""
        remove(self.path / "pardons" / device)

    def revoked_serials(self) -> frozenset[str]:
        """Return the serial numbers that hold no more.

        Those of a used claim hold until its device was seen as a member, or until
        their end: it may have to come back for an answer that was lost.
        """
        gone = {
            path.name
            for path in (self.path / "gone").glob("*")
            if not path.name.startswith(".")
        }
        shut = {
            serial
            for one in self.members().values()
            if one.revoked
            for serial in one.serials
        }
        spent = {one.serial for one in self.claims().values() if one.spent}
        return frozenset(gone | shut | spent)

    def write_revoked(self) -> None:
        """Bring the broker's list up to date; a list that is right stays as it is."""
        path = self.path / "revoked.crl"
        serials = self.revoked_serials()
        try:
            number, listed = read_revocation_list(path.read_bytes())
        except (OSError, DecodeError):
            number, listed = 0, None
        if listed != serials:
            raw = self.authority.revocation_list(sorted(serials), number=number + 1)
            write_private(path, raw)


def broker_hosts(fleet: Fleet) -> tuple[str, ...]:
    """Return the broker's names, with those by which its own machine knows it."""
    return tuple(dict.fromkeys((*fleet.hosts, *LOCAL_HOSTS)))
