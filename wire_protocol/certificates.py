"""Certificates: a fleet's private authority, and what it vouches for (X.509, RFC 5280).

Nothing public trusts a fleet's authority and it vouches for nothing public. Every
certificate is valid from 1970 on, so that a board without a clock can connect; ends are
real, and devices are renewed before theirs. Keys are Ed25519 (RFC 8410). Times are
seconds since 1970 and always given.

An agent at work never imports this module: ``cryptography`` costs it 8 MB
(docs/adr/0020); its certificate request is made once, when it joins.
"""

import ipaddress
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wire_protocol.enrolment import MAX_CERTIFICATE_BYTES, MAX_REQUEST_BYTES
from wire_protocol.errors import DecodeError, TrustError
from wire_protocol.signing import Signer

_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_END: Final = datetime(2049, 12, 31, tzinfo=UTC)
"""Later ones are written in another form, which small TLS stacks do not read."""
_SERIAL_BITS: Final = 120
_UNREADABLE: Final = (
    *(ValueError, TypeError, OverflowError, UnsupportedAlgorithm),
    *(InvalidSignature, x509.InvalidVersion, CryptographyDeprecationWarning),
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says: its DER, and what was read from it.

    ``serial`` is in hex, ``not_after`` in seconds since 1970, ``public`` 32 bytes.
    """

    der: bytes
    name: str
    serial: str
    not_after: float
    public: bytes

    @property
    def pem(self) -> bytes:
        """The certificate as files have it."""
        return x509.load_der_x509_certificate(self.der).public_bytes(Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Authority:
    """Who issues certificates: its own one and its key."""

    certificate: Certificate
    signer: Signer

    def issue(
        self,
        name: str,
        public: bytes,
        *,
        serial: int,
        not_after: float,
        server: bool = False,
        hosts: Sequence[str] = (),
    ) -> Certificate:
        """Vouch for the 32-byte key ``public`` as ``name``.

        A ``server`` is one that may be connected to, at ``hosts`` (names or
        addresses); any other may only connect.
        """
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        builder = (
            _builder(name, public, serial=serial, not_after=not_after)
            .issuer_name(_name(self.certificate.name))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_key_usage(authority=False), True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [usage if server else ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    _public(self.signer.public)
                ),
                False,
            )
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(host) for host in hosts]),
                False,
            )
        return read_certificate(_der(builder.sign(_private(self.signer), None)))

    def revocation_list(self, serials: Iterable[str], *, number: int) -> bytes:
        """Return a signed list of ``serials`` that hold no more, in PEM.

        ``number`` grows with every list. It has no end that could lock everybody out.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_name(self.certificate.name))
            .last_update(_BEGINNING)
            .next_update(_NO_END)
            .add_extension(x509.CRLNumber(number), False)
        )
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(int(serial, 16))
                .revocation_date(_BEGINNING)
                .build()
            )
        return builder.sign(_private(self.signer), None).public_bytes(Encoding.PEM)


def read_revocation_list(raw: bytes) -> tuple[int, frozenset[str]]:
    """Return number and serials of a list of ours, in PEM, or raise ``DecodeError``."""
    try:
        found = x509.load_pem_x509_crl(raw)
        number = found.extensions.get_extension_for_class(x509.CRLNumber).value
        serials = frozenset(f"{one.serial_number:x}" for one in found)
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise DecodeError(f"not a revocation list: {error!r:.100}") from error
    return number.crl_number, serials


def new_authority(name: str, signer: Signer, *, serial: int) -> Authority:
    """Found an authority; its certificate ends with 2049."""
    builder = (
        _builder(name, signer.public, serial=serial, not_after=_NO_END.timestamp())
        .issuer_name(_name(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_key_usage(authority=True), True)
    )
    return Authority(
        read_certificate(_der(builder.sign(_private(signer), None))), signer
    )


def certificate_request(device: str, signer: Signer) -> bytes:
    """Return a request to be known as ``device`` (PKCS #10, DER)."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(device))
    return builder.sign(_private(signer), None).public_bytes(Encoding.DER)


def requested_key(raw: bytes, *, device: str) -> bytes:
    """Return the 32-byte key that asks, in ``raw``, to be known as ``device``.

    Raises:
        TrustError: It is no request for ``device`` by an Ed25519 key; nothing else,
            whatever ``raw`` holds.
    """
    if len(raw) > MAX_REQUEST_BYTES:
        raise TrustError(f"{len(raw)} bytes are no certificate request")
    try:
        request = x509.load_der_x509_csr(raw)
        key = request.public_key()
        name = _common_name(request.subject)
        valid = request.is_signature_valid
    except _UNREADABLE as error:
        raise TrustError(f"not a certificate request: {error!r:.100}") from error
    if not isinstance(key, Ed25519PublicKey) or not valid:
        raise TrustError("the certificate request is not by an Ed25519 key of its own")
    if name != device:
        raise TrustError(f"the certificate request is for {name!r:.40}, not {device!r}")
    return _raw(key)


def read_certificate(raw: bytes) -> Certificate:
    """Read a certificate, PEM or DER, or raise ``DecodeError``; nothing else."""
    if len(raw) > 2 * MAX_CERTIFICATE_BYTES:
        raise DecodeError(f"{len(raw)} bytes are no certificate of ours")
    try:
        found = _loaded(raw)
        key = found.public_key()
        name = _common_name(found.subject)
        ends = found.not_valid_after_utc.timestamp()
        serial = f"{found.serial_number:x}"
    except _UNREADABLE as error:
        raise DecodeError(f"not a certificate: {error!r:.100}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise DecodeError("the certificate is not of an Ed25519 key")
    return Certificate(_der(found), name, serial, ends, _raw(key))


def _loaded(raw: bytes) -> x509.Certificate:
    with warnings.catch_warnings():
        # cryptography still reads one that is not positive, and says so at length
        warnings.filterwarnings("error", message="Parsed a serial number")
        if raw.startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificate(raw)
        return x509.load_der_x509_certificate(raw)


def check_issued(certificate: Certificate, *, by: Certificate) -> None:
    """Raise ``TrustError`` unless ``by`` signed ``certificate``."""
    found = x509.load_der_x509_certificate(certificate.der)
    try:
        found.verify_directly_issued_by(x509.load_der_x509_certificate(by.der))
    except _UNREADABLE as error:
        raise TrustError(
            f"the certificate of {certificate.name!r} is not by {by.name!r}"
        ) from error


def serial_from(random_bytes: bytes) -> int:
    """Return a serial number, positive and of 120 bits, from 15 bytes or more."""
    drawn = int.from_bytes(random_bytes, "big") % (1 << _SERIAL_BITS)
    return drawn | 1 << (_SERIAL_BITS - 1)


def _builder(
    name: str, public: bytes, *, serial: int, not_after: float
) -> x509.CertificateBuilder:
    key = _public(public)
    end = datetime.fromtimestamp(not_after, UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(_BEGINNING)
        .not_valid_after(min(end, _NO_END))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else ""


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private(signer: Signer) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(signer.seed)


def _public(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _der(signed: x509.Certificate) -> bytes:
    return signed.public_bytes(Encoding.DER)
