"""The claim that a token carries: read, found whole, and wiped once it is used.

A token is a secret until it is used or over. It comes from a file or from standard
input, never as an argument, which every user of the machine could read.
"""

import contextlib
import getpass
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wire_protocol.certificates import Certificate, check_issued, read_certificate
from wire_protocol.enrolment import (
    MAX_TOKEN_CHARACTERS,
    JoinToken,
    TokenParts,
    token_frame,
)
from wire_protocol.errors import ConfigError, DecodeError
from wire_protocol.framing import expect
from wire_protocol.signing import Signer, Verifier
from wire_protocol.topics import Topics, check_name

_REMEDY: Final = (
    "copy the whole line that 'edgefed devices join' printed, with its 'efd1:'"
)


@dataclass(frozen=True, slots=True)
class OpenClaim:
    """The right to join once: who says so, where, and the key that proves it."""

    token: JoinToken
    signer: Signer
    certificate: Certificate
    authority: Certificate
    fleet_key: Verifier

    @property
    def topics(self) -> Topics:
        """The topics of the fleet that is joined."""
        return Topics(self.token.fleet)


def read_claim(text: str) -> OpenClaim:
    """Read a token; a part of one, or a damaged one, is found out here.

    Raises:
        ConfigError: It is none.
    """
    try:
        token, body = expect(JoinToken, token_frame(text))
        parts = TokenParts.from_bytes(body)
        claim = OpenClaim(
            token=token,
            signer=Signer(parts.seed),
            certificate=read_certificate(parts.certificate),
            authority=read_certificate(parts.authority),
            fleet_key=Verifier(parts.fleet_key),
        )
        _check_whole(claim)
    except (DecodeError, ConfigError) as error:
        raise ConfigError(
            f"this is no token, or a damaged one: {error.problem}", remedy=_REMEDY
        ) from error
    return claim


def _check_whole(claim: OpenClaim) -> None:
    """Raise ``DecodeError`` unless the parts of a token belong together."""
    check_issued(claim.certificate, by=claim.authority)
    if claim.certificate.public != claim.signer.public:
        raise DecodeError("its key and its certificate do not belong together")
    if claim.certificate.name != claim.token.claim:
        raise DecodeError("its certificate is of another claim")
    if set(claim.token.claim) & set("/+#"):
        raise DecodeError("its claim is no name for topics")
    check_name(claim.token.fleet, what="fleet")


def token_from(path: Path | None) -> str:
    """Return the token in ``path``; without it what standard input says.

    At a terminal it is asked for, and not shown.

    Raises:
        ConfigError: It cannot be read.
    """
    if path is None:
        if sys.stdin.isatty():
            return getpass.getpass("token: ")
        return sys.stdin.read(2 * MAX_TOKEN_CHARACTERS)
    try:
        with path.open("rb") as file:
            return file.read(2 * MAX_TOKEN_CHARACTERS).decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(
            f"the token file {path} cannot be read: {error.strerror}",
            remedy="name the file that the token was written to",
        ) from error


def wipe(path: Path) -> None:
    """Overwrite and remove the secret in ``path``, if it is there.

    Flash memory may keep an old copy all the same: what makes the token worthless is
    that it works once.

    Raises:
        OSError: It cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        with path.open("r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
