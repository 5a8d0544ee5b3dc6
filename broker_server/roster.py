"""Roster: who may take part, and whether what they sent is theirs.

Without a fleet's folder everybody on this machine may, and nothing is signed. With one,
only its members; what they send up bears their signature. A change on disk, by the
command line or by enrolment, is seen at the next ``refresh``.
"""

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
        self._members: dict[str, Member] = {}
        self.refresh()

    @property
    def seal(self) -> Seal:
        """Signs what the server says to devices."""
        return as_it_is if self._folder is None else self._folder.signer.seal

    def refresh(self) -> frozenset[str]:
        """Read what has changed on disk; return who has been revoked since."""
        if self._folder is None or self._folder.changed == self._stamp:
            return frozenset()
        stamp = self._folder.changed
        members = self._folder.members()
        before, self._members, self._stamp = self._members, members, stamp
        gone = before.keys() - members.keys()
        shut = {name for name, one in members.items() if one.revoked}
        return frozenset(shut | gone) - {n for n, o in before.items() if o.revoked}

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
