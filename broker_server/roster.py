"""Roster: who may take part, and whether what they sent is theirs.

Without a fleet's folder everybody on this machine may, and nothing is signed. With one,
only its members; what they send up bears their signature. A change on disk, by the
command line or by enrolment, is seen at the next ``refresh``.
"""

from collections.abc import Mapping
from typing import Final

from broker_server.fleet_folder import FleetFolder
from broker_server.members import Member
from wire_protocol.envelope import Seal, as_it_is
from wire_protocol.errors import DecodeError, Reason, TrustError
from wire_protocol.signing import Verifier


class Roster:
    """The members of a fleet; without ``folder`` a fleet that everybody is of."""

    def __init__(self, folder: FleetFolder | None = None) -> None:
        self._folder = folder
        self._stamp: tuple[int, int] | None = None
        self._settled = False
        self._members: dict[str, Member] = {}
        self.refresh()

    @property
    def folder(self) -> FleetFolder | None:
        """The fleet's folder, if there is one."""
        return self._folder

    @property
    def members(self) -> Mapping[str, Member]:
        """Everyone who was vouched for, as of the last ``refresh``."""
        return self._members

    @property
    def locked_out(self) -> frozenset[str]:
        """Members that were revoked."""
        return frozenset(name for name, one in self._members.items() if one.revoked)

    @property
    def seal(self) -> Seal:
        """Signs what the server says to devices."""
        return as_it_is if self._folder is None else self._folder.signer.seal

    def refresh(self) -> frozenset[str]:
        """Read what has changed on disk; return who may no longer take part since.

        Those are members that were revoked, and those that were forgotten.

        Raises:
            ConfigError: A file is damaged, or the folder is gone; nothing changes.
        """
        if self._folder is None:
            return frozenset()
        stamp = self._folder.changed
        if stamp == self._stamp and self._settled:
            return frozenset()
        members = self._folder.members()
        before, shut_before = self._members, self.locked_out
        # Once more when it stays the same: a change right after the one that was seen
        # may have its stamp.
        self._settled = stamp == self._stamp
        self._members, self._stamp = members, stamp
        gone = before.keys() - members.keys()
        return (self.locked_out - shut_before) | gone

    def check_admitted(self, device: str) -> None:
        """Raise ``DecodeError`` unless ``device`` may say something."""
        if self._folder is None:
            return
        member = self._members.get(device)
        if member is None:
            raise DecodeError(f"{device} is no member", reason=Reason.UNKNOWN_DEVICE)
        if member.revoked:
            raise DecodeError(f"{device} was revoked", reason=Reason.REVOKED)

    def unseal(self, device: str, context: str, raw: bytes) -> bytes:
        """Return the frame in ``raw``, which ``device`` sent.

        Raises:
            TrustError: It did not sign it for ``context``.
        """
        if self._folder is None:
            return as_it_is(context, raw)
        member = self._members.get(device)
        if member is None:
            raise TrustError(f"{device} is no member", reason=Reason.UNKNOWN_DEVICE)
        return Verifier(bytes.fromhex(member.public)).unseal(context, raw)


EVERYBODY: Final = Roster()
"""Of a federation on one machine."""
