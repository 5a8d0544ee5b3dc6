"""TLS towards the broker: at least 1.2, its certificate by our authority, for its host.

What goes wrong is told in the user's terms, with what to do next.
"""

import ssl
from collections.abc import Iterator
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


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a connection.

    Raises:
        ConfigError: A file is missing, unreadable, or not what it must be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks chain and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
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
            told = cause.verify_message
            return f"the broker's certificate is not accepted: {told}", _WRONG_BROKER
        if isinstance(cause, ssl.SSLError):
            told = str(getattr(cause, "reason", None) or cause)
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
