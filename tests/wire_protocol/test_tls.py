"""TLS towards a broker: files that are wrong are told of before anything is sent."""

import ssl
from pathlib import Path

import pytest

from wire_protocol.certificates import new_authority, serial_from
from wire_protocol.errors import ConfigError
from wire_protocol.link import Login, TlsFiles
from wire_protocol.signing import Signer, key_to_pem
from wire_protocol.tls import client_context, password, tls_problem

CA = Signer(bytes(32))
PI = Signer(b"p" * 32)


def files(folder: Path) -> TlsFiles:
    authority = new_authority("edgefed home", CA, serial=serial_from(b"a"))
    mine = authority.issue(
        "pi-1", PI.public, serial=serial_from(b"b"), not_after=2_000_000_000
    )
    contents = {
        "authority.crt": authority.certificate.pem,
        "device.crt": mine.pem,
        "device.key": key_to_pem(PI),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return TlsFiles(*(folder / name for name in contents))


def test_nothing_older_than_tls_1_2_and_nobody_unknown(tmp_path: Path) -> None:
    context = client_context(files(tmp_path))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("name", ["authority.crt", "device.crt", "device.key"])
@pytest.mark.parametrize("damage", ["missing", "empty", "another"])
def test_a_wrong_file_is_told_of(tmp_path: Path, name: str, damage: str) -> None:
    found = files(tmp_path)
    if damage == "missing":
        (tmp_path / name).unlink()
    elif damage == "empty":
        (tmp_path / name).write_bytes(b"")
    else:
        (tmp_path / name).write_bytes(key_to_pem(CA))
    with pytest.raises(ConfigError, match="cannot be used for TLS"):
        client_context(found)


def test_a_password_is_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("s3cret word \nnot this\n")
    assert password(Login("pi", path)) == "s3cret word"
    with pytest.raises(ConfigError, match="cannot be read"):
        password(Login("pi", tmp_path / "none"))


def test_what_is_no_matter_of_tls_is_left_to_others() -> None:
    assert tls_problem(OSError("connection refused")) is None
    wrapped = RuntimeError()
    wrapped.__cause__ = ssl.SSLError(1, "[SSL: TLSV1_ALERT] alert")
    assert tls_problem(wrapped) is not None
