"""A passing certificate: a key and a certificate for an occasion, as files."""

from pathlib import Path

from broker_server.fleet_folder import RandomBytes
from broker_server.private_files import write_private
from wire_protocol.certificates import Authority, serial_from
from wire_protocol.link import TlsFiles
from wire_protocol.signing import Signer, key_to_pem


def passing_certificate(
    name: str,
    folder: Path,
    *,
    by: Authority,
    trusting: Path,
    not_after: float,
    random: RandomBytes,
) -> TlsFiles:
    """Return how to meet a broker as ``name``; the files are in ``folder``.

    Args:
        name: In the certificate.
        folder: Where key and certificate are written, for its owner only.
        by: Who vouches for it.
        trusting: The file of the authority whose certificates the broker shows.
        not_after: When it ends, seconds since 1970.
        random: Makes the key and the serial number.

    Raises:
        ConfigError: A file cannot be written.
    """
    signer = Signer(random(32))
    certificate = by.issue(
        name, signer.public, serial=serial_from(random(15)), not_after=not_after
    )
    files = TlsFiles(trusting, folder / f"{name}.crt", folder / f"{name}.key")
    write_private(folder / f"{name}.key", key_to_pem(signer))
    write_private(folder / f"{name}.crt", certificate.pem)
    return files
