"""Membership: what makes this device a member of its fleet, in a folder of its own.

    device.key          made here, never leaves it; for its owner only
    device.csr          the request that is sent again at every renewal
    device.crt          what the fleet answered
    renewed.crt         a new one, until it has been tried
    authority.crt       whose certificates a broker of the fleet shows
    membership.json     written last: fleet, device, broker, and the fleet's key

No module that ``agent run`` imports needs ``cryptography`` for it.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Self

from wire_protocol.atomic_file import write_atomically
from wire_protocol.errors import ConfigError, DecodeError
from wire_protocol.fields import Fields, json_object
from wire_protocol.link import TlsFiles
from wire_protocol.signing import Signer, Verifier, load_key

_MAX_FILE_BYTES: Final = 16_384
_JOIN: Final = "join with: edgefed agent join"


@dataclass(frozen=True, slots=True)
class Membership:
    """What ``membership.json`` says.

    Attributes:
        fleet: Its name.
        device: Our id in it.
        host: Of the broker.
        port: Of the broker.
        fleet_key: What the fleet signs with, 64 hex digits.
        claim: By which claim we joined.
    """

    fleet: str
    device: str
    host: str
    port: int
    fleet_key: str
    claim: str

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Parse, or raise ``DecodeError``; nothing else, whatever ``raw`` holds."""
        fields = Fields(json_object(raw, what="a membership"), owner="membership")
        return cls(
            fleet=fields.text("fleet", longest=32),
            device=fields.text("device", longest=32),
            host=fields.text("host"),
            port=fields.whole("port", least=1, most=65_535),
            fleet_key=fields.digest("fleet_key"),
            claim=fields.text("claim", longest=48),
        )

    def to_json(self) -> bytes:
        """Return the file's content."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()


class IdentityFolder:
    """The folder of one membership, there or yet to be."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def joined(self) -> bool:
        """Whether this device is a member."""
        return (self.path / "membership.json").exists()

    def membership(self) -> Membership:
        """Return it.

        Raises:
            ConfigError: The device has not joined, or the file is damaged.
        """
        path = self.path / "membership.json"
        try:
            with path.open("rb") as file:
                return Membership.from_json(file.read(_MAX_FILE_BYTES))
        except FileNotFoundError as error:
            raise ConfigError(
                f"{self.path} holds no membership: this device has joined no fleet",
                remedy=_JOIN,
            ) from error
        except (OSError, DecodeError) as error:
            raise ConfigError(f"{path}: {error}", remedy=_JOIN + " --anew") from error

    @property
    def signer(self) -> Signer:
        """Our key."""
        return load_key(self.path / "device.key")

    def verifier(self) -> Verifier:
        """The fleet's key."""
        return Verifier(bytes.fromhex(self.membership().fleet_key))

    @property
    def tls(self) -> TlsFiles:
        """How we meet the broker."""
        return TlsFiles(
            self.path / "authority.crt",
            self.path / "device.crt",
            self.path / "device.key",
        )

    @property
    def renewed_tls(self) -> TlsFiles:
        """How we would, with a certificate that is still to be tried."""
        return replace(self.tls, certificate=self.path / "renewed.crt")

    def write(self, name: str, content: bytes) -> None:
        """Write one of the files, for our user only.

        Raises:
            ConfigError: It cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)  # it may have been there, or made as a parent
            write_atomically(self.path / name, content, mode=0o600)
        except OSError as error:
            raise ConfigError(
                f"{self.path / name} cannot be written: {error.strerror}",
                remedy="give [security] identity_dir a folder that can be written to",
            ) from error
