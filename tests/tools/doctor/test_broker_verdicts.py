"""What is thought of a broker: a case for every verdict and remedy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.doctor.verdict_cases import Case
from tools.doctor.broker_verdicts import (
    Attempt,
    GreetingFacts,
    PacketFacts,
    RetainFacts,
    RoundTripFacts,
    ServerFacts,
    StrangerFacts,
    judge_device_access,
    judge_greeting,
    judge_packets,
    judge_retain,
    judge_round_trips,
    judge_server,
    judge_server_access,
    judge_strangers,
)
from tools.doctor.findings import Verdict
from wire_protocol.messages import ServerInfo

KIB = 1024
INFO = ServerInfo(block_bytes=16_384, window=8, model="digits-mlp", resend_s=2.0)
OPEN = Attempt("write", "round/doctor", allowed=True)
SEEN = Attempt("read", "$SYS/#", allowed=True)
SHUT = Attempt("write", "d/edgefed-doctor/doctor", allowed=False)
SILENT = Attempt("read", "d/+/info", allowed=None)

CASES = [
    Case(
        "greeting",
        judge_greeting(GreetingFacts("5", 0.02, 263_168)),
        "ok",
        "MQTT 5, in 20 ms; it says it takes packets of 263,168 bytes",
    ),
    Case("greeting-bare", judge_greeting(GreetingFacts("5", 0.02)), "ok", "20 ms"),
    Case(
        "greeting-old",
        judge_greeting(GreetingFacts("3.1.1", 0.02)),
        "warning",
        "neither limits nor refusals",
        'protocol = "auto"',
    ),
    Case(
        "greeting-qos-0",
        judge_greeting(GreetingFacts("5", 0.02, max_qos=0)),
        "failed",
        "QoS 0 only",
        "max_qos",
    ),
    Case(
        "greeting-no-retain",
        judge_greeting(GreetingFacts("5", 0.02, retains=False)),
        "failed",
        "retains nothing",
        "retain_available true",
    ),
    Case(
        "qos",
        judge_round_trips(RoundTripFacts(3, (0.001,) * 3, (0.002,) * 3)),
        "ok",
        "3 of 3 messages came back, after 2.0 ms",
    ),
    Case(
        "qos-refused",
        judge_round_trips(RoundTripFacts(3, code=135)),
        "failed",
        "code 135",
        "pattern readwrite",
    ),
    Case(
        "qos-mute",
        judge_round_trips(RoundTripFacts(3)),
        "failed",
        "nothing that we publish is acknowledged",
        "journalctl",
    ),
    Case(
        "qos-deaf",
        judge_round_trips(RoundTripFacts(3, (0.001,))),
        "failed",
        "never comes back",
        "pattern readwrite",
    ),
    Case(
        "qos-lossy",
        judge_round_trips(RoundTripFacts(3, (0.001,) * 3, (0.002,) * 2)),
        "warning",
        "2 of 3",
        "max_queued_messages 0",
    ),
    Case(
        "qos-slow",
        judge_round_trips(RoundTripFacts(2, (0.3, 0.3), (0.4, 0.4))),
        "warning",
        "which is slow",
        "power save off",
    ),
    Case(
        "packets",
        judge_packets(PacketFacts(256 * KIB), block_bytes=32 * KIB),
        "ok",
        "256 KiB or more come back; blocks of 32 KiB pass",
    ),
    Case(
        "packets-enough",
        judge_packets(PacketFacts(32 * KIB), block_bytes=32 * KIB),
        "ok",
        "32 KiB and no larger",
    ),
    Case(
        "packets-none",
        judge_packets(PacketFacts(0), block_bytes=32 * KIB),
        "failed",
        "not even payloads of 1 KiB",
        "max_packet_size 263168",
    ),
    Case(
        "packets-told",
        judge_packets(PacketFacts(8 * KIB, 9000), block_bytes=32 * KIB),
        "warning",
        "cut into smaller blocks",
        "max_packet_size",
    ),
    Case(
        "packets-untold",
        judge_packets(PacketFacts(9 * KIB), block_bytes=32 * KIB),
        "failed",
        "does not say so",
        "block_bytes = 8192",
    ),
    Case(
        "retain",
        judge_retain(RetainFacts(kept=True, cleared=True)),
        "ok",
        "kept, and goes",
    ),
    Case(
        "retain-refused",
        judge_retain(RetainFacts("code 154")),
        "failed",
        "code 154",
        "retain_available true",
    ),
    Case(
        "retain-lost",
        judge_retain(RetainFacts(kept=False, cleared=True)),
        "failed",
        "not there",
        "retain_available true",
    ),
    Case(
        "retain-ghost",
        judge_retain(RetainFacts(kept=True)),
        "warning",
        "stays after it was cleared",
        "empty retained",
    ),
    Case(
        "access",
        judge_device_access((SHUT, SILENT), identified=True),
        "ok",
        "1 things that are not this device's were refused, and nothing came of 1",
    ),
    Case(
        "access-open",
        judge_device_access((OPEN, SEEN, SHUT), identified=True),
        "failed",
        "write round/doctor and read $SYS/#",
        "edgefed broker init",
    ),
    Case(
        "access-plain",
        judge_device_access((OPEN,), identified=False),
        "warning",
        "everybody on this machine may write round/doctor",
        "edgefed fleet init",
    ),
    Case(
        "access-untold",
        judge_device_access((SILENT,), identified=True),
        "not measured",
        "3.1.1",
    ),
    Case("server-access", judge_server_access((OPEN, SILENT)), "ok", "all 2 things"),
    Case(
        "server-access-shut",
        judge_server_access((OPEN, SHUT)),
        "failed",
        "not let the server write d/edgefed-doctor/doctor",
        "topic readwrite",
    ),
    Case(
        "strangers-plain",
        judge_strangers(StrangerFacts(1883, None)),
        "not measured",
        "everybody here is let in",
        "fleet init",
    ),
    Case(
        "strangers",
        judge_strangers(StrangerFacts(8883, same_port=False, clear_port=False)),
        "ok",
        "refused on port 8883",
    ),
    Case(
        "strangers-in",
        judge_strangers(StrangerFacts(8883, same_port=True)),
        "failed",
        "port 8883 lets in",
        "require_certificate true",
    ),
    Case(
        "strangers-clear",
        judge_strangers(StrangerFacts(8883, same_port=False, clear_port=True)),
        "warning",
        "port 1883",
        "listener 1883 127.0.0.1",
    ),
    Case("server", judge_server(ServerFacts("online", INFO), fleet="home"), "ok", "16"),
    Case(
        "server-never",
        judge_server(ServerFacts(None, None), fleet="home"),
        "warning",
        "server of fleet home was never here",
        "edgefed server run",
    ),
    Case(
        "server-gone",
        judge_server(ServerFacts("offline", INFO), fleet="home"),
        "warning",
        "is offline",
        "edgefed server run",
    ),
    Case(
        "server-false",
        judge_server(ServerFacts("online", None, "not signed"), fleet="home"),
        "failed",
        "not to be trusted: not signed",
        "another fleet",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_facts_have_their_verdict_and_remedy(case: Case) -> None:
    case.hold()


@given(
    st.integers(0, 256), st.none() | st.integers(1, 2**28), st.integers(1024, 131_072)
)
def test_blocks_that_pass_are_never_a_failure(
    kib: int, announced: int | None, block_bytes: int
) -> None:
    facts = PacketFacts(kib * KIB, announced)
    verdict = judge_packets(facts, block_bytes=block_bytes).verdict
    assert (verdict is Verdict.OK) == (kib * KIB >= block_bytes)


@given(st.lists(st.sampled_from([OPEN, SEEN, SHUT, SILENT])))
def test_a_device_that_may_too_much_is_never_all_right(tried: list[Attempt]) -> None:
    found = judge_device_access(tuple(tried), identified=True)
    assert (found.verdict is Verdict.FAILED) == any(one.allowed for one in tried)
