"""Certificates: who is vouched for, as OpenSSL sees it; liars are refused."""

import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_protocol.certificates import (
    Authority,
    Certificate,
    certificate_request,
    check_issued,
    new_authority,
    read_certificate,
    requested_key,
    serial_from,
)
from wire_protocol.errors import DecodeError, TrustError
from wire_protocol.signing import Signer

PI = Signer(bytes(range(32)))
AUTHORITY = new_authority("edgefed home", Signer(bytes(32)), serial=serial_from(b"a"))
FOREIGN = new_authority("edgefed home", Signer(b"x" * 32), serial=serial_from(b"b"))
END = 1_900_000_000.0
YEARS_1970_TO_2030 = ("1", "1577836800", "1899999999")


def issued(by: Authority = AUTHORITY, *, server: bool = False) -> Certificate:
    hosts = ("broker.local", "192.168.1.5", "::1") if server else ()
    return by.issue(
        "pi-1",
        PI.public,
        serial=serial_from(b"c"),
        not_after=END,
        server=server,
        hosts=hosts,
    )


def openssl(tmp_path: Path, *arguments: str, certificate: Certificate) -> str:
    """Have OpenSSL judge ``certificate``; return what it says."""
    (tmp_path / "authority.crt").write_bytes(AUTHORITY.certificate.pem)
    (tmp_path / "pi.crt").write_bytes(certificate.pem)
    trusted = ["openssl", "verify", "-x509_strict", "-CAfile", "authority.crt"]
    done = subprocess.run(
        [*trusted, *arguments, "pi.crt"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_a_certificate_says_whom_it_is_of() -> None:
    one = read_certificate(issued().pem)
    assert (one.name, one.public, one.not_after) == ("pi-1", PI.public, END)
    assert int(one.serial, 16).bit_length() == 120
    assert read_certificate(one.der) == one
    check_issued(one, by=AUTHORITY.certificate)


@pytest.mark.parametrize("at", YEARS_1970_TO_2030)
def test_openssl_accepts_it_on_boards_without_a_clock(tmp_path: Path, at: str) -> None:
    said = openssl(
        tmp_path, "-attime", at, "-purpose", "sslclient", certificate=issued()
    )
    assert "OK" in said


@pytest.mark.parametrize(
    ("arguments", "certificate", "told"),
    [
        (("-attime", "1900000001"), issued(), "expired"),
        (("-attime", "1", "-purpose", "sslserver"), issued(), "purpose"),
        (
            ("-attime", "1", "-purpose", "sslclient"),
            issued(server=True),
            "purpose",
        ),
        (("-attime", "1"), issued(FOREIGN), "verification failed"),
    ],
    ids=["its time is over", "as a broker", "a broker as a client", "of another"],
)
def test_openssl_refuses(
    tmp_path: Path, arguments: tuple[str, ...], certificate: Certificate, told: str
) -> None:
    assert told in openssl(tmp_path, *arguments, certificate=certificate)


def test_a_broker_is_known_by_its_names(tmp_path: Path) -> None:
    one = issued(server=True)
    for option, host, held in (
        ("-verify_hostname", "broker.local", True),
        ("-verify_ip", "192.168.1.5", True),
        ("-verify_ip", "::1", True),
        ("-verify_hostname", "evil.local", False),
    ):
        said = openssl(tmp_path, "-attime", "1", option, host, certificate=one)
        assert ("OK" in said) is held


def test_a_list_shuts_out_what_it_names(tmp_path: Path) -> None:
    one = issued()
    path = tmp_path / "revoked.crl"
    for serials, told in (((), "OK"), ((one.serial,), "certificate revoked")):
        path.write_bytes(AUTHORITY.revocation_list(serials, number=len(serials)))
        arguments = ("-attime", "1", "-crl_check", "-CRLfile", "revoked.crl")
        assert told in openssl(tmp_path, *arguments, certificate=one)


def test_a_foreign_certificate_is_not_ours() -> None:
    with pytest.raises(TrustError, match="is not by"):
        check_issued(issued(FOREIGN), by=AUTHORITY.certificate)


def test_a_request_gives_its_key() -> None:
    raw = certificate_request("pi-1", PI)
    assert requested_key(raw, device="pi-1") == PI.public


def test_a_request_for_another_name_is_refused() -> None:
    with pytest.raises(TrustError, match="is for 'pi-1'"):
        requested_key(certificate_request("pi-1", PI), device="pi-2")


def test_a_request_whose_signature_is_another_keys_is_refused() -> None:
    mine = certificate_request("pi-1", PI)
    theirs = certificate_request("pi-1", Signer(b"y" * 32))
    with pytest.raises(TrustError):
        requested_key(mine[:-64] + theirs[-64:], device="pi-1")


def test_a_request_of_a_version_that_does_not_exist_is_refused() -> None:
    raw = certificate_request("pi-1", PI)
    assert raw[5:8] == b"\x02\x01\x00"  # version 0, an ASN.1 integer
    with pytest.raises(TrustError, match="InvalidVersion"):
        requested_key(raw[:7] + b"\x01" + raw[8:], device="pi-1")


def test_a_certificate_with_a_negative_number_is_refused_without_a_warning() -> None:
    one = issued()
    at = one.der.index(bytes.fromhex(one.serial))
    with pytest.raises(DecodeError, match="serial number"):
        read_certificate(one.der[: at - 1] + b"\x80" + one.der[at:])


@given(raw=st.binary(max_size=400), at=st.integers(0, 400))
def test_hostile_certificates_and_requests_are_typed_errors(
    raw: bytes, at: int
) -> None:
    for whole in (issued().der, issued().pem, certificate_request("pi-1", PI)):
        attempts = [raw, whole[:at] + raw, whole[:at] + raw + whole[at + len(raw) :]]
        for attempt in attempts:
            with contextlib.suppress(DecodeError):
                read_certificate(attempt)
            with contextlib.suppress(TrustError):
                requested_key(attempt, device="pi-1")
