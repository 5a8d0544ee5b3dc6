"""A fleet on disk, its members' files, and a mosquitto with the policy we generate."""

import getpass
import itertools
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from broker_server.broker_policy.policy_folder import Listening, PolicyFolder
from broker_server.broker_policy.program import installed_program
from broker_server.fleet import Fleet
from broker_server.fleet_folder import CONSOLE_NAME, SERVER_NAME, FleetFolder
from broker_server.members import Claim, Member
from broker_server.private_files import write_private
from tests.broker.raw_client import ClosedError, LastWord, RawClient
from wire_protocol.certificates import Authority, new_authority, serial_from
from wire_protocol.link import TlsFiles
from wire_protocol.signing import Signer, key_to_pem
from wire_protocol.topics import Topics

YEAR_S = 365.25 * 24 * 3600
TOPICS = Topics("home")
CLAIM = "claim.0123456789ab"
OTHER_CLAIM = "claim.ba9876543210"
SPENT_CLAIM = "claim.5555555555aa"


def counting() -> Callable[[int], bytes]:
    """Return random bytes that are not random, and never the same."""
    count = itertools.count(1)
    return lambda size: (
        next(count).to_bytes(4, "big") * (size // 4) + b"\x07" * (size % 4)
    )


@dataclass
class GuardedFleet:
    """The fleet ``home`` in ``path``; what is made for its members lies in ``kept``."""

    path: Path
    random: Callable[[int], bytes] = field(default_factory=counting)

    def __post_init__(self) -> None:
        self.now = time.time()
        self.folder = FleetFolder.create(
            self.path / "fleet",
            Fleet("home", ("127.0.0.1",)),
            now=self.now,
            random=self.random,
        )
        self.kept = self.path / "kept"
        self.kept.mkdir()

    # --- who there is ---------------------------------------------------------------

    def join(self, device: str, *, revoked: bool = False) -> TlsFiles:
        """Make ``device`` a member."""
        files, serial, public = self.issue(device)
        with self.folder.locked():
            self.folder.keep_member(
                Member(
                    device=device,
                    label=device,
                    public=public,
                    serial=serial,
                    not_after=self.now + YEAR_S,
                    joined=self.now,
                    claim=CLAIM,
                    hardware="test",
                )
            )
        if revoked:
            self.folder.revoke(device, why="test", now=self.now)
        return files

    def open_claim(self, claim: str, *, spent: bool = False) -> TlsFiles:
        files, serial, public = self.issue(claim)
        with self.folder.locked():
            self.folder.keep_claim(
                Claim(
                    claim=claim,
                    public=public,
                    serial=serial,
                    until=self.now + 600,
                    taken_by="ab" * 32 if spent else "",
                    spent=spent,
                )
            )
            self.folder.write_revoked()
        return files

    def issue(
        self,
        name: str,
        *,
        by: Authority | None = None,
        not_after: float | None = None,
        server: bool = False,
    ) -> tuple[TlsFiles, str, str]:
        """Make a key and a certificate; return files, serial and public key."""
        signer = Signer(self.random(32))
        authority = by or self.folder.authority
        certificate = authority.issue(
            name,
            signer.public,
            serial=serial_from(self.random(15)),
            not_after=self.now + YEAR_S if not_after is None else not_after,
            server=server,
            hosts=("127.0.0.1",) if server else (),
        )
        stem = f"{name}-{certificate.serial[-8:]}"
        key, crt = self.kept / f"{stem}.key", self.kept / f"{stem}.crt"
        write_private(key, key_to_pem(signer))
        write_private(crt, certificate.pem)
        files = TlsFiles(self.folder.path / "authority.crt", crt, key)
        return files, certificate.serial, signer.public.hex()

    def foreign_authority(self, name: str = "edgefed home") -> Authority:
        """Return an authority that calls itself like ours."""
        return new_authority(
            name, Signer(self.random(32)), serial=serial_from(self.random(15))
        )

    @property
    def server_files(self) -> TlsFiles:
        return self.folder.server_tls

    # --- the broker -----------------------------------------------------------------

    def policy(self, port: int) -> PolicyFolder:
        program = installed_program()
        return PolicyFolder(
            self.path / "broker",
            self.folder,
            listening=Listening("127.0.0.1", port),
            dialect=program.dialect,
            acl_plugin=program.acl_plugin,
            user=getpass.getuser(),
        )


def context(files: TlsFiles | None, *, authority: Path | None = None) -> ssl.SSLContext:
    """Return a client's context that shows ``files``, or nothing."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted = authority or (files.authority if files else None)
    assert trusted is not None
    made.load_verify_locations(trusted)
    if files is not None:
        assert files.certificate is not None
        made.load_cert_chain(files.certificate, files.key)
    return made


def connected(
    port: int, files: TlsFiles, *, client_id: str = "any", will: LastWord | None = None
) -> RawClient:
    """Return a connection that was accepted."""
    client = RawClient(port, context(files))
    assert client.connect(client_id, will=will) == 0
    return client


def turned_away(port: int, files: TlsFiles | None) -> bool:
    """Return whether the broker refuses who shows ``files``, or speaks no TLS."""
    try:
        with RawClient(port, None if files is None else context(files)) as client:
            return client.connect("any") != 0
    except (ssl.SSLError, ClosedError, ConnectionResetError):
        return True


SERVER, CONSOLE = SERVER_NAME, CONSOLE_NAME
