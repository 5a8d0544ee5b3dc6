"""Who may do what at a real mosquitto with the policy we generate, and who may not.

Every refusal has a control: the same act, by who may do it or in the form that is
allowed, succeeds. What does not arrive is proven by what was sent after it and does.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.broker.guarded_fleet import (
    CLAIM,
    CONSOLE,
    OTHER_CLAIM,
    SERVER,
    TOPICS,
    connected,
)
from tests.broker.guarded_world import NOT_AUTHORIZED, ROOT, A, B, World

pytestmark = pytest.mark.broker

SHA = "ab" * 32


# --- writing --------------------------------------------------------------------------


@dataclass(frozen=True)
class Write:
    """``who`` writes ``topic``, which only ``owner`` may; None: nobody."""

    name: str
    who: str
    topic: str
    owner: str | None
    retain: bool = False


WRITES = [
    *(
        Write(f"a device as another: {rest}", A, TOPICS.device(B, rest), B)
        for rest in (
            "availability",
            "info",
            "state",
            "telemetry",
            "need",
            "evt",
            "renewal",
            f"up/{'0' * 16}/m",
            f"up/{'0' * 16}/b/0",
        )
    ),
    Write("a device retains another's info", A, TOPICS.device(B, "info"), B, True),
    Write("a device orders another", A, TOPICS.device(B, "cmd/need"), SERVER),
    Write("a device receipts another", A, TOPICS.device(B, "cmd/receipt"), SERVER),
    Write("a device certifies another", A, TOPICS.device(B, "cmd/certificate"), SERVER),
    Write("a device opens a round", A, TOPICS.round(7), SERVER),
    Write("a device keeps a round open", A, TOPICS.round(7), SERVER, True),
    Write("a device deploys", A, f"{ROOT}/deploy/desired", SERVER),
    Write("a device sends a blob's block", A, TOPICS.blocks(SHA, 0), SERVER),
    Write("a device lists a blob's blocks", A, TOPICS.block_list(SHA), SERVER),
    Write("a device is the server", A, TOPICS.server_info, SERVER),
    Write("a device ends the server", A, TOPICS.server_availability, SERVER, True),
    Write("a device tells the server's state", A, TOPICS.server_state, SERVER),
    Write("a device joins as a claim", A, TOPICS.enrolment(CLAIM, "req"), CLAIM),
    Write("a device answers a claim", A, TOPICS.enrolment(CLAIM, "res"), SERVER),
    Write("a device in another fleet", A, f"edgefed/1/attic/d/{A}/info", None),
    Write("a device beside all fleets", A, "homeassistant/sensor/config", None),
    Write("a device in $SYS", A, "$SYS/broker/uptime", None),
    Write("a device in $CONTROL", A, "$CONTROL/dynamic-security/v1", None),
    Write("a device above all devices", A, f"{ROOT}/d", None),
    Write("the server in another fleet", SERVER, "edgefed/1/attic/server/info", None),
    Write("a claim as a device", CLAIM, TOPICS.device(A, "info"), A),
    Write("a claim orders a device", CLAIM, TOPICS.device(A, "cmd/need"), SERVER),
    Write("a claim under d/", CLAIM, TOPICS.device(CLAIM, "info"), None),
    Write("a claim opens a round", CLAIM, TOPICS.round(7), SERVER),
    Write("a claim sends a block", CLAIM, TOPICS.blocks(SHA, 0), SERVER),
    Write(
        "a claim as another", CLAIM, TOPICS.enrolment(OTHER_CLAIM, "req"), OTHER_CLAIM
    ),
    Write("a console orders a device", CONSOLE, TOPICS.device(A, "cmd/need"), SERVER),
    Write("a console opens a round", CONSOLE, TOPICS.round(7), SERVER),
    Write("a console as a device", CONSOLE, TOPICS.device(A, "info"), A),
    Write("a revoked name, new certificate", "reborn", TOPICS.device(A, "info"), A),
    Write("a revoked name on its own", "reborn", TOPICS.device("reborn", "info"), None),
]


@pytest.mark.parametrize("case", WRITES, ids=lambda case: case.name)
def test_it_may_not_write(world: World, case: Write) -> None:
    if case.owner is not None:
        allowed = world.fresh()
        writer = world[case.owner]
        seen = world.seen_by(
            SERVER, lambda: writer.publish(case.topic, allowed, retain=case.retain)
        )
        assert allowed in seen, "the control: who may write it does"
    forbidden = world.fresh()
    answers: list[int] = []
    seen = world.seen_by(
        SERVER,
        lambda: answers.append(
            world[case.who].publish(case.topic, forbidden, retain=case.retain)
        ),
    )
    assert answers == [NOT_AUTHORIZED]
    assert forbidden not in seen
    if case.who not in ("reborn", CONSOLE):
        own = world.own_topic(case.who)
        assert world[case.who].publish(own, world.fresh()) == 0


# --- reading --------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """``who`` listens to ``heard``; what ``writer`` says on ``topic`` is for others."""

    name: str
    who: str
    heard: str
    topic: str
    writer: str
    retain: bool = False


def exactly(
    name: str, who: str, topic: str, writer: str, *, retain: bool = False
) -> Read:
    """Who listens to nothing but the topic itself."""
    return Read(name, who, topic, topic, writer, retain)


READS = [
    *(
        exactly(f"a device hears another: {rest}", A, TOPICS.device(B, rest), B)
        for rest in (
            "availability",
            "info",
            "state",
            "telemetry",
            "need",
            "evt",
            f"up/{'0' * 16}/b/0",
        )
    ),
    exactly("retained", A, TOPICS.device(B, "info"), B, retain=True),
    exactly("another's receipt", A, TOPICS.device(B, "cmd/receipt"), SERVER),
    exactly("another's certificate", A, TOPICS.device(B, "cmd/certificate"), SERVER),
    exactly("a claim's request", A, TOPICS.enrolment(CLAIM, "req"), CLAIM),
    exactly("a claim's answer", A, TOPICS.enrolment(CLAIM, "res"), SERVER),
    Read("#", A, "#", TOPICS.device(B, "info"), B),
    Read("edgefed/#", A, "edgefed/#", TOPICS.device(B, "info"), B),
    Read("+/+/+/d/#", A, "+/+/+/d/#", TOPICS.device(B, "info"), B),
    Read("d/+/info", A, TOPICS.device("+", "info"), TOPICS.device(B, "info"), B),
    Read("d/+/#", A, TOPICS.device("+", "#"), TOPICS.device(B, "up/x/b/0"), B),
    Read(
        "enroll/+/res",
        A,
        TOPICS.enrolment("+", "res"),
        f"{ROOT}/enroll/{CLAIM}/res",
        SERVER,
    ),
    Read("enroll/#", A, f"{ROOT}/enroll/#", TOPICS.enrolment(CLAIM, "req"), CLAIM),
    Read("shared", A, f"$share/g/{TOPICS.device(B, '#')}", TOPICS.device(B, "info"), B),
    Read("a claim hears a round", CLAIM, TOPICS.round("+"), TOPICS.round(7), SERVER),
    Read(
        "a claim hears a kept round",
        CLAIM,
        f"{ROOT}/round/#",
        TOPICS.round(8),
        SERVER,
        True,
    ),
    Read("a claim hears blobs", CLAIM, f"{ROOT}/blob/#", TOPICS.blocks(SHA, 0), SERVER),
    exactly("a claim hears deploy", CLAIM, f"{ROOT}/deploy/desired", SERVER),
    Read(
        "a claim hears the server",
        CLAIM,
        f"{ROOT}/server/#",
        TOPICS.server_info,
        SERVER,
    ),
    Read("a claim hears devices", CLAIM, f"{ROOT}/d/#", TOPICS.device(A, "info"), A),
    Read(
        "a claim hears a claim",
        CLAIM,
        f"{ROOT}/enroll/#",
        TOPICS.enrolment(OTHER_CLAIM, "req"),
        OTHER_CLAIM,
    ),
    Read("a claim hears all", CLAIM, "#", TOPICS.round(7), SERVER),
    Read(
        "a revoked name hears a round",
        "reborn",
        TOPICS.round("+"),
        TOPICS.round(7),
        SERVER,
    ),
]


@pytest.mark.parametrize("case", READS, ids=lambda case: case.name)
def test_it_may_not_read(world: World, case: Read) -> None:
    said = world.fresh()

    def act() -> None:
        writer = world[case.writer]
        if case.retain:
            assert writer.publish(case.topic, said, retain=True) == 0
        world[case.who].subscribe(case.heard)
        if not case.retain:
            assert writer.publish(case.topic, said) == 0

    if case.who == "reborn":
        # nothing at all comes to it: what is answered proves that nothing waits
        act()
        world[case.who].ping()
        heard = [message.payload for message in world[case.who].inbox]
    else:
        heard = world.seen_by(case.who, act)
    world[case.who].unsubscribe(case.heard)
    if case.retain:
        world[case.writer].publish(case.topic, b"", retain=True)
    assert said not in heard
    control = world.fresh()
    seen = world.seen_by(SERVER, lambda: world[SERVER].publish(case.topic, control))
    assert said in seen, "the control: the server hears it"
    assert control in seen


def test_only_the_server_hears_of_the_broker(world: World) -> None:
    """``$SYS/broker/version`` is retained: who may read it has it at once."""
    with connected(world.port, world.files[SERVER]) as server:
        assert server.subscribe("$SYS/broker/version") < 0x80
        server.ping()
        assert any(b"mosquitto" in message.payload for message in server.inbox)
    world.hang_up(SERVER)  # its session was taken over
    world[SERVER].subscribe(f"{ROOT}/#")
    for who in (A, CLAIM):
        for heard in ("$SYS/#", "$SYS/broker/version"):
            world[who].subscribe(heard)
            world[who].ping()
            assert not [m for m in world[who].inbox if m.topic.startswith("$SYS")]
            world[who].unsubscribe(heard)


# --- legitimate traffic ---------------------------------------------------------------

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
TABLE = PROTOCOL.read_text(encoding="utf-8").split("| topic | from |")[1]
LEGITIMATE = re.findall(r"^\| `([a-z]+/[^`]+)` \| ([^|]+) \|", TABLE, re.MULTILINE)


@pytest.mark.parametrize(("topic", "origin"), LEGITIMATE)
def test_what_the_protocol_says_passes(world: World, topic: str, origin: str) -> None:
    device = CLAIM if topic.startswith("enroll/") else A
    writer = SERVER if origin.startswith("server") else device
    reader = device if writer == SERVER else SERVER
    for name, value in (
        ("<device>", A),
        ("<claim>", CLAIM),
        ("<n>", "7"),
        ("<sha256>", SHA),
        ("<transfer>", "0" * 16),
        ("<i>", "0"),
        ("<name>", "need"),
    ):
        topic = topic.replace(name, value)
    said = world.fresh()
    full = f"{ROOT}/{topic}"
    assert world[CONSOLE].subscribe(f"{ROOT}/#") < 0x80
    if reader != SERVER:
        assert world[reader].subscribe(full) < 0x80
    assert world[writer].publish(full, said) == 0
    assert world[reader].until(said)[-1].topic == full
    assert world[CONSOLE].until(said)[-1].topic == full, "a console sees everything"


def test_the_protocol_has_a_table_of_topics() -> None:
    assert len(LEGITIMATE) >= 20
