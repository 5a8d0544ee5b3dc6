"""What is thought of a way to the broker: a case for every verdict and remedy."""

import errno
from dataclasses import replace

import pytest

from tests.tools.doctor.verdict_cases import Case
from tools.doctor.machine_verdicts import BUILT
from tools.doctor.network_verdicts import (
    HandshakeFacts,
    NameFacts,
    ReachFacts,
    judge_handshake,
    judge_name,
    judge_reach,
)

NOW = BUILT + 1e8
DAY = 86_400
SHAKEN = HandshakeFacts(
    "TLSv1.3", "AES256", ("broker.local", "10.0.0.2"), NOW + 400 * DAY, 0.02
)


def _name(host: str, *addresses: str, seconds: float = 0.1) -> NameFacts:
    return NameFacts(
        host, literal=False, addresses=addresses, seconds=seconds, problem="unknown"
    )


def _vain(code: int) -> ReachFacts:
    return ReachFacts("10.0.0.2", 8883, code=code, problem="no way")


CASES = [
    Case("address", judge_name(NameFacts("10.0.0.2", literal=True)), "ok", "nothing"),
    Case("name", judge_name(_name("hub.local", "10.0.0.2")), "ok", "is 10.0.0.2"),
    Case(
        "mdns-unknown",
        judge_name(_name("Hub.local")),
        "failed",
        "Hub.local has no address: unknown",
        "apt install avahi-daemon libnss-mdns",
    ),
    Case("dns-unknown", judge_name(_name("hub")), "failed", "no address", "/etc/hosts"),
    Case(
        "mdns-slow",
        judge_name(_name("hub.local", "10.0.0.2", seconds=5)),
        "warning",
        "5.00 s, which is slow",
        "libnss-mdns",
    ),
    Case(
        "dns-slow",
        judge_name(_name("hub", "10.0.0.2", seconds=5)),
        "warning",
        "slow",
        "resolvectl",
    ),
    Case(
        "tcp",
        judge_reach((ReachFacts("10.0.0.2", 8883, 0.003),)),
        "ok",
        "10.0.0.2 port 8883 accepts connections, in 3 ms",
    ),
    Case(
        "tcp-refused",
        judge_reach((_vain(errno.ECONNREFUSED),)),
        "failed",
        "no connection to 10.0.0.2 port 8883: no way",
        "start the broker",
    ),
    Case(
        "tcp-no-route",
        judge_reach((_vain(errno.EHOSTUNREACH),)),
        "failed",
        "no connection",
        "ip route; ping 10.0.0.2",
    ),
    Case(
        "tcp-dropped",
        judge_reach((_vain(-1),)),
        "failed",
        "no connection",
        "ufw allow 8883/tcp",
    ),
    Case(
        "tcp-second",
        judge_reach((_vain(errno.ECONNREFUSED), ReachFacts("fd00::2", 8883, 0.003))),
        "warning",
        "but 10.0.0.2 does not (no way)",
        "listen on 10.0.0.2 too",
    ),
    Case("tls", judge_handshake(SHAKEN, now=NOW), "ok", "for broker.local, 10.0.0.2"),
    Case("tls-none", judge_handshake(None, now=NOW), "not measured", "without TLS"),
    Case(
        "tls-refused",
        judge_handshake(HandshakeFacts(problem="expired", remedy="renew"), now=NOW),
        "failed",
        "expired",
        "renew",
    ),
    Case(
        "tls-ends",
        judge_handshake(replace(SHAKEN, ends=NOW + 29 * DAY), now=NOW),
        "warning",
        "until ",
        "edgefed fleet renew",
    ),
    Case(
        "tls-ends-who-knows",
        judge_handshake(replace(SHAKEN, ends=100 * DAY), now=90 * DAY),
        "ok",
        "until 1970-04-11",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_facts_have_their_verdict_and_remedy(case: Case) -> None:
    case.hold()
