"""What is to be thought of the way to the broker: its name, TCP and TLS.

Facts in, findings out. This module is pure.
"""

import errno
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tools.doctor.findings import Finding, Measured, failed, not_measured, ok, warning
from tools.doctor.machine_verdicts import BUILT

SOON_S: Final = 30 * 86_400.0
"""Certificates of broker and server that end within this time should be renewed."""
_SLOW_NAME_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What became of looking up ``host``; ``literal``: it is an address already."""

    host: str
    literal: bool
    addresses: tuple[str, ...] = ()
    seconds: float = 0.0
    problem: str = ""


def judge_name(facts: NameFacts) -> Finding:
    """Return whether the broker's name leads anywhere."""
    if facts.literal:
        return ok(f"{facts.host} is an address, there is nothing to look up")
    multicast = facts.host.lower().endswith(".local")
    measured = {
        "addresses": len(facts.addresses),
        "lookup_ms": round(1000 * facts.seconds, 1),
    }
    if not facts.addresses:
        return failed(
            f"{facts.host} has no address: {facts.problem}",
            remedy="sudo apt install avahi-daemon libnss-mdns, here and on the "
            "broker's machine; or write its address into [broker] host"
            if multicast
            else "correct [broker] host, or add it to your router's DNS or /etc/hosts",
            measured=measured,
        )
    found = f"{facts.host} is {', '.join(facts.addresses)}, in {facts.seconds:.2f} s"
    if facts.seconds > _SLOW_NAME_S:
        return warning(
            f"{found}, which is slow",
            remedy="sudo apt install avahi-daemon libnss-mdns, or write the address "
            "into [broker] host"
            if multicast
            else "see 'resolvectl status' for a name server that does not answer, or "
            "write the address into [broker] host",
            measured=measured,
        )
    return ok(found, measured=measured)


@dataclass(frozen=True, slots=True)
class ReachFacts:
    """What became of a TCP connection; ``code`` is its errno, 0: it was made."""

    address: str
    port: int
    seconds: float = 0.0
    code: int = 0
    problem: str = ""


def judge_reach(tries: tuple[ReachFacts, ...]) -> Finding:
    """Return whether any of the broker's addresses accepts connections."""
    made = [one for one in tries if not one.code]
    if not made:
        first = tries[0]
        where = f"{first.address} port {first.port}"
        return failed(
            f"no connection to {where}: {first.problem}",
            remedy=_way_to(first),
            measured={"errno": first.code},
        )
    first = made[0]
    found = (
        f"{first.address} port {first.port} accepts connections, in "
        f"{1000 * first.seconds:.0f} ms"
    )
    measured = {"connect_ms": round(1000 * first.seconds, 1)}
    if made[0] is not tries[0]:
        vain = tries[0]
        return warning(
            f"{found}, but {vain.address} does not ({vain.problem}): connecting "
            "takes longer",
            remedy=f"let the broker listen on {vain.address} too, or write "
            f"{first.address} into [broker] host",
            measured=measured,
        )
    return ok(found, measured=measured)


def _way_to(facts: ReachFacts) -> str:
    match facts.code:
        case errno.ECONNREFUSED:
            return (
                "start the broker there (systemctl status mosquitto), see that it "
                "listens on more than 127.0.0.1, and correct [broker] port"
            )
        case errno.ENETUNREACH | errno.EHOSTUNREACH:
            return "see that both machines are in one network: ip route; ping " + (
                facts.address
            )
        case _:
            return (
                f"let the firewall of the broker's machine pass port {facts.port} "
                f"(sudo ufw allow {facts.port}/tcp), and see that it is on: ping "
                f"{facts.address}"
            )


@dataclass(frozen=True, slots=True)
class HandshakeFacts:
    """What became of a TLS handshake: a ``problem`` with its ``remedy``, or none.

    ``names`` are what the broker's certificate is for; ``ends`` is in seconds since
    1970.
    """

    version: str = ""
    cipher: str = ""
    names: tuple[str, ...] = ()
    ends: float = math.inf
    seconds: float = 0.0
    problem: str = ""
    remedy: str = ""


def judge_handshake(facts: HandshakeFacts | None, *, now: float) -> Finding:
    """Return whether broker and we accept one another; None: there is no TLS here."""
    if facts is None:
        return not_measured("this broker is met without TLS, on this machine")
    if facts.problem:
        return failed(facts.problem, remedy=facts.remedy)
    until = f"{datetime.fromtimestamp(facts.ends, UTC):%Y-%m-%d}"
    found = (
        f"{facts.version}, {facts.cipher}, in {1000 * facts.seconds:.0f} ms; the "
        f"broker's certificate is for {', '.join(facts.names)}, until {until}"
    )
    measured: Measured = {
        "version": facts.version,
        "cipher": facts.cipher,
        "handshake_ms": round(1000 * facts.seconds, 1),
        "certificate_ends_s": round(facts.ends),
    }
    # a clock that is wrong cannot tell what is soon
    if now >= BUILT and facts.ends - now < SOON_S:
        return warning(
            found,
            remedy="renew it, on the server: edgefed fleet renew; then restart the "
            "broker",
            measured=measured,
        )
    return ok(found, measured=measured)
