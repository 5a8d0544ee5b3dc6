"""What a device prepares while it joins, beside the membership it may have.

    joining/device.key      the key to be; kept until the fleet has answered
    joining/device.csr      its certificate request
    joining/claim.{key,crt}, joining/authority.crt
                            what the connection needs; gone as soon as it ends

Killed at any point, the device asks again with the same key and so gets the same
certificate. An old membership is replaced only when the new one is complete.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from edge_agent.joining.claim import OpenClaim, wipe
from edge_agent.membership import IdentityFolder, Membership
from wire_protocol.certificates import (
    Certificate,
    certificate_request,
    requested_key,
)
from wire_protocol.errors import ConfigError, TrustError
from wire_protocol.link import TlsFiles
from wire_protocol.signing import Signer, key_to_pem

_CLAIM_FILES: Final = ("claim.key", "claim.crt", "authority.crt")


@dataclass(frozen=True, slots=True)
class Request:
    """The device's new key, and its request (PKCS #10, DER) to be known by it."""

    signer: Signer
    der: bytes


class Staging:
    """The folder ``joining`` in the folder of ``identity``."""

    def __init__(self, identity: IdentityFolder) -> None:
        self._identity = identity
        self._folder = IdentityFolder(identity.path / "joining")

    def request(self, device: str, *, random: Callable[[int], bytes]) -> Request:
        """Return key and request for ``device``, which are on the disk from now on.

        Raises:
            ConfigError: The folder cannot be written to.
        """
        kept = self._kept(device)
        if kept is not None:
            return kept
        signer = Signer(random(32))
        der = certificate_request(device, signer)
        self._folder.write("device.key", key_to_pem(signer))
        self._folder.write("device.csr", der)
        return Request(signer, der)

    def _kept(self, device: str) -> Request | None:
        """Return what an attempt that was cut off has left, if it is of use."""
        try:
            signer = self._folder.signer
            der = (self._folder.path / "device.csr").read_bytes()
            if requested_key(der, device=device) == signer.public:
                return Request(signer, der)
        except (ConfigError, TrustError, OSError):
            pass
        return None

    @contextlib.contextmanager
    def connection(self, claim: OpenClaim) -> Iterator[TlsFiles]:
        """Hold what a connection as ``claim`` needs, while the block runs."""
        folder = self._folder
        try:
            folder.write("claim.key", key_to_pem(claim.signer))
            folder.write("claim.crt", claim.certificate.pem)
            folder.write("authority.crt", claim.authority.pem)
            yield TlsFiles(
                folder.path / "authority.crt",
                folder.path / "claim.crt",
                folder.path / "claim.key",
            )
        finally:
            for name in _CLAIM_FILES:
                with contextlib.suppress(OSError):
                    wipe(folder.path / name)

    def commit(
        self,
        membership: Membership,
        request: Request,
        *,
        certificate: Certificate,
        authority: Certificate,
    ) -> None:
        """Make the device a member; all is on the disk when this returns.

        Raises:
            ConfigError: The folder cannot be written to.
        """
        identity = self._identity
        with contextlib.suppress(FileNotFoundError):  # of another membership
            (identity.path / "membership.json").unlink()
        identity.write("device.key", key_to_pem(request.signer))
        identity.write("device.csr", request.der)
        identity.write("device.crt", certificate.pem)
        identity.write("authority.crt", authority.pem)
        identity.write("membership.json", membership.to_json())

    def clear(self) -> None:
        """Remove the folder: all of it is in its place, or of no use."""
        shutil.rmtree(self._folder.path, ignore_errors=True)
