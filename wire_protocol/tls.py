"""TLS towards the broker: at least 1.2, its certificate by our authority, for its host.

What goes wrong is told in the user's terms, with what to do next.
"""

import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from wire_protocol.errors import ConfigError
from wire_protocol.link import Login, TlsFiles

_MAX_PASSWORD_BYTES: Final = 4096
_WRONG_BROKER: Final = (
    "check that [broker] host is a name that the broker's certificate has, and that it "
    "is of the same fleet"
)
_NO_TLS: Final = (
    "check that the port is the broker's TLS port, and that this certificate is of its "
    "fleet, not revoked and not expired"
)
_JOIN_ANEW: Final = "join with a new token: edgefed agent join --anew"
_ALERTS: Final = {
    "CERTIFICATE_REVOKED": ("this certificate was revoked", _JOIN_ANEW),
    "CERTIFICATE_EXPIRED": (
        "this certificate has expired, by the broker's clock",
        f"{_JOIN_ANEW}; or set the clock of the broker's machine",
    ),
    "CERTIFICATE_REQUIRED": (
        "the broker wants a certificate, and this side has none",
        "join its fleet: edgefed agent join",
    ),
    "UNKNOWN_CA": ("this certificate is of another fleet than the broker", _JOIN_ANEW),
}
"""What the other side says as it ends TLS (RFC 8446, section 6), in OpenSSL's words."""
_WRONG_TIME: Final = (
    9,
    10,
)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


class AttentiveSocket(ssl.SSLSocket):
    """A TLS socket that keeps what the other side said as it ended the connection.

    With TLS 1.3 a certificate is refused when we believe to be connected, and MQTT
    libraries throw the alert away.
    """

    alert: ssl.SSLError | None = None

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands as a socket does; one that failed is closed at once."""
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            self.close()  # paho forgets to
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive as a socket does."""
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as error:
            if "ALERT" in str(getattr(error, "reason", None)):
                self.alert = error
            raise


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a connection.

    Raises:
        ConfigError: A file is missing, unreadable, or not what it must be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks chain and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = AttentiveSocket
    path = files.authority
    try:
        context.load_verify_locations(path)
        if files.certificate is not None:
            path = files.certificate
            context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{path} cannot be used for TLS: {error.strerror or error}",
            remedy="correct its path, or enrol anew",
        ) from error
    return context


def files_to_meet(
    ours: TlsFiles | None, *, authority: Path | None, by_name: bool, remedy: str
) -> TlsFiles:
    """Return how to meet a broker by TLS.

    Args:
        ours: What a member of a fleet, or its server, has for that.
        authority: Whom to trust instead of the fleet's.
        by_name: Whether the broker knows names and passwords, no certificates.
        remedy: What to do where nothing says whom to trust.

    Raises:
        ConfigError: Nothing says whom to trust.
    """
    if authority is None and ours is not None:
        authority = ours.authority
    if authority is None:
        raise ConfigError("[broker] tls needs an authority to trust", remedy=remedy)
    if ours is None or by_name:
        return TlsFiles(authority)
    return replace(ours, authority=authority)


def login_of(username: str | None, password_file: Path | None) -> Login | None:
    """Return the login that a configuration names, if it does."""
    if username is None or password_file is None:
        return None
    return Login(username, password_file)


def password(login: Login) -> str:
    """Return the password of ``login``: the first line of its file.

    Raises:
        ConfigError: The file cannot be read.
    """
    return _first_line(login.password_file)


def tls_problem(error: BaseException) -> tuple[str, str] | None:
    """Return what TLS says is wrong, and the remedy; None: TLS is not the problem."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            remedy = _WRONG_BROKER
            if cause.verify_code in _WRONG_TIME:
                now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
                remedy = f"set the clock of this machine, where it is {now} UTC"
            told = cause.verify_message
            return f"the broker's certificate is not accepted: {told}", remedy
        if isinstance(cause, ssl.SSLError):
            told = str(getattr(cause, "reason", None) or cause)
            for alert, (problem, remedy) in _ALERTS.items():
                if told.endswith(alert):
                    return f"the broker refuses us: {problem}", remedy
            return f"no TLS: {told.lower().replace('_', ' ')}", _NO_TLS
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        yield from (one for one in seen.args if isinstance(one, BaseException))
        seen = seen.__cause__ or seen.__context__


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_PASSWORD_BYTES).decode().split("\n", 1)[0].rstrip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the password file {path} cannot be read: {error}",
            remedy="write the password into it, as its only line",
        ) from error
