"""What is to be thought of identities: a device's, a fleet's, a password's.

Facts in, findings out. This module is pure.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tools.doctor.findings import Finding, failed, ok, warning
from tools.doctor.machine_verdicts import BUILT
from tools.doctor.network_verdicts import SOON_S

DEVICE_SOON_S: Final = 7 * 86_400.0
"""Renewal comes when a third of a certificate's time is left; this late it failed."""
_OTHERS: Final = 0o077
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Modes:
    """Who may use a folder of secrets and what is in it: mode bits, by path."""

    folder: Path
    folder_mode: int
    secrets: dict[Path, int]

    def problem(self) -> Finding | None:
        """Return what is wrong, if others than the owner may read something."""
        loose = sorted(path for path, mode in self.secrets.items() if mode & _OTHERS)
        if loose:
            first = loose[0]
            return failed(
                f"others may read {', '.join(str(path) for path in loose)} "
                f"(mode {self.secrets[first]:o})",
                remedy=f"chmod 600 {' '.join(str(path) for path in loose)}",
            )
        if self.folder_mode & _OTHERS:
            return failed(
                f"others may look into {self.folder} (mode {self.folder_mode:o})",
                remedy=f"chmod 700 {self.folder}",
            )
        return None


@dataclass(frozen=True, slots=True)
class IdentityFacts:
    """A device's membership and certificate.

    Attributes:
        modes: Of its folder.
        member: Fleet and device that the membership names.
        configured: Fleet and device that the configuration names.
        certified: The name in the certificate.
        ends: When that ends, seconds since 1970.
        our_key: Whether it is of the key in the folder.
        by_authority: Whether the authority in the folder issued it.
    """

    modes: Modes
    member: tuple[str, str]
    configured: tuple[str, str]
    certified: str
    ends: float
    our_key: bool
    by_authority: bool


_JOIN_AGAIN: Final = (
    "get a new token on the server (edgefed devices join), and join again: "
    "edgefed agent join"
)


def judge_identity(facts: IdentityFacts, *, now: float) -> Finding:
    """Return whether the device can prove who it is."""
    problem = facts.modes.problem()
    if problem is not None:
        return problem
    fleet, device = facts.member
    if facts.member != facts.configured:
        return failed(
            f"the membership is of {device!r} in fleet {fleet!r}, the configuration "
            f"says {facts.configured[1]!r} in {facts.configured[0]!r}",
            remedy=f'set [agent] device = "{device}" and fleet = "{fleet}", or correct '
            "[security] identity_dir",
        )
    for right, what in (
        (facts.certified == device, f"is for {facts.certified!r}, not {device!r}"),
        (facts.our_key, "is not of this device's key"),
        (facts.by_authority, "is not by the fleet's authority"),
    ):
        if not right:
            return failed(f"the certificate {what}", remedy=_JOIN_AGAIN)
    measured = {"certificate_ends_s": round(facts.ends)}
    found = f"{device} of fleet {fleet}, certificate until {_day(facts.ends)}"
    if now < BUILT:
        return ok(f"{found} (the clock cannot tell how long)", measured=measured)
    left = facts.ends - now
    if left <= 0:
        return failed(
            f"the certificate ended on {_day(facts.ends)}",
            remedy=_JOIN_AGAIN,
            measured=measured,
        )
    if left < DEVICE_SOON_S:
        return warning(
            f"{found}: {left / _DAY_S:.1f} days are left, and it was not renewed",
            remedy="let server and agent run at the same time: the server renews by "
            "itself; read its log",
            measured=measured,
        )
    return ok(found, measured=measured)


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """A fleet's folder.

    Attributes:
        modes: Of the folder.
        fleet: Its name.
        configured: The name in the configuration.
        ends: When certificates end, by whose they are.
        members: How many may take part.
        revoked: How many were locked out.
        ending: Members whose certificate ends within a week.
        claims: Tokens that are open.
        listed: Whether the broker's list of revoked certificates is complete.
    """

    modes: Modes
    fleet: str
    configured: str
    ends: dict[str, float]
    members: int
    revoked: int
    ending: tuple[str, ...]
    claims: int
    listed: bool = True


def judge_fleet(facts: FleetFacts, *, now: float) -> Finding:
    """Return whether the fleet's folder is in order."""
    problem = facts.modes.problem()
    if problem is not None:
        return problem
    if facts.fleet != facts.configured:
        return failed(
            f"{facts.modes.folder} is of fleet {facts.fleet!r}, not "
            f"{facts.configured!r}",
            remedy="correct [server] fleet or [security] fleet_dir",
        )
    if not facts.listed:
        return failed(
            "the list of revoked certificates, revoked.crl, is missing: the broker "
            "cannot refuse them",
            remedy="write it again: edgefed devices revoke one that is revoked already",
        )
    first = min(facts.ends.values(), default=math.inf)
    measured = {
        "members": facts.members,
        "revoked": facts.revoked,
        "open_claims": facts.claims,
        "certificate_ends_s": round(first) if first < math.inf else None,
    }
    found = (
        f"fleet {facts.fleet}: {_many(facts.members, 'member')}, {facts.revoked} "
        f"revoked, {_many(facts.claims, 'open token')}"
    )
    renew = "edgefed fleet renew, and restart broker and server"
    if now < BUILT:
        return ok(f"{found} (the clock cannot tell what ends)", measured=measured)
    for whose, ends in sorted(facts.ends.items(), key=lambda one: one[1]):
        if ends <= now:
            return failed(
                f"{found}; the {whose}'s certificate ended on {_day(ends)}",
                remedy=renew,
                measured=measured,
            )
        if ends - now < SOON_S:
            return warning(
                f"{found}; the {whose}'s certificate ends on {_day(ends)}",
                remedy=renew,
                measured=measured,
            )
    if facts.ending:
        return warning(
            f"{found}; the certificates of {', '.join(facts.ending)} end within a week "
            "or have ended",
            remedy="let them run while the server does, which renews them; who was "
            "away too long joins again: edgefed devices join",
            measured=measured,
        )
    return ok(found, measured=measured)


def judge_password(path: Path, mode: int) -> Finding:
    """Return whether a password is for its owner only."""
    if mode & _OTHERS:
        return failed(
            f"others may read the password file {path} (mode {mode:o})",
            remedy=f"chmod 600 {path}",
        )
    return ok(f"{path} is for its owner only")


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
