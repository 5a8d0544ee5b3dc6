"""What is to be thought of a broker: what it takes, keeps, and keeps from whom.

Facts in, findings out. This module is pure.
"""

import statistics
from dataclasses import dataclass
from typing import Final, Literal

from tools.doctor.findings import Finding, failed, not_measured, ok, warning
from wire_protocol.blobs import MIN_BLOCK_BYTES
from wire_protocol.link import (
    MAX_PAYLOAD_BYTES,
    PACKET_OVERHEAD_BYTES,
    MqttVersion,
)
from wire_protocol.messages import ServerInfo

USUAL_BLOCK_BYTES: Final = 32_768
"""What a server cuts blobs into unless it is told otherwise."""
SLOW_ROUND_TRIP_S: Final = 0.25
_LARGER: Final = (
    f"raise the broker's limit: max_packet_size "
    f"{MAX_PAYLOAD_BYTES + PACKET_OVERHEAD_BYTES} in mosquitto.conf"
)
_OWN_TOPICS: Final = (
    "let the broker's access rules give every device read and write of its own topics: "
    "pattern readwrite edgefed/1/FLEET/d/%u/#"
)


@dataclass(frozen=True, slots=True)
class GreetingFacts:
    """A CONNECT that was accepted; the rest is what only MQTT 5 tells."""

    version: MqttVersion
    seconds: float
    max_packet_bytes: int | None = None
    max_qos: int = 2
    retains: bool = True


def judge_greeting(facts: GreetingFacts) -> Finding:
    """Return what is to be thought of how the broker receives us."""
    limit = facts.max_packet_bytes
    found = f"MQTT {facts.version}, in {1000 * facts.seconds:.0f} ms"
    if limit is not None:
        found += f"; it says it takes packets of {limit:,} bytes"
    measured = {
        "version": facts.version,
        "connect_ms": round(1000 * facts.seconds, 1),
        "announced_packet_bytes": limit,
    }
    if facts.max_qos < 1:
        return failed(
            f"{found}; it offers QoS {facts.max_qos} only, 1 is needed",
            remedy="set max_qos 1 or 2 in mosquitto.conf, or use another broker",
            measured=measured,
        )
    if not facts.retains:
        return failed(
            f"{found}; it retains nothing",
            remedy="set retain_available true in mosquitto.conf",
            measured=measured,
        )
    if facts.version == "3.1.1":
        return warning(
            f"{found}: it tells neither limits nor refusals",
            remedy="use a broker with MQTT 5 (sudo apt install mosquitto), and "
            '[broker] protocol = "auto"',
            measured=measured,
        )
    return ok(found, measured=measured)


@dataclass(frozen=True, slots=True)
class RoundTripFacts:
    """Small messages to a topic of our own, and back.

    ``code`` is the first refusal, 0: none; ``acknowledged`` and ``returned`` are the
    seconds of each message that was.
    """

    sent: int
    acknowledged: tuple[float, ...] = ()
    returned: tuple[float, ...] = ()
    code: int = 0


def judge_round_trips(facts: RoundTripFacts) -> Finding:
    """Return whether QoS 1 holds, and how fast."""
    if facts.code:
        return failed(
            f"the broker refuses what we publish on our own topic (code {facts.code})",
            remedy=_OWN_TOPICS,
        )
    if not facts.acknowledged:
        return failed(
            "nothing that we publish is acknowledged",
            remedy="read the broker's log (journalctl -u mosquitto); see whether its "
            "disk is full",
        )
    if not facts.returned:
        return failed(
            "what we publish on our own topic is acknowledged, and never comes back",
            remedy=_OWN_TOPICS,
        )
    ack, back = map(statistics.median, (facts.acknowledged, facts.returned))
    measured = {
        "sent": facts.sent,
        "returned": len(facts.returned),
        "acknowledged_ms": round(1000 * ack, 2),
        "returned_ms": round(1000 * back, 2),
    }
    found = (
        f"{len(facts.returned)} of {facts.sent} messages came back, after "
        f"{1000 * back:.1f} ms (acknowledged after {1000 * ack:.1f} ms), median"
    )
    if len(facts.returned) < facts.sent:
        return warning(
            f"{found}: some are lost, and sent again after seconds",
            remedy="set max_queued_messages 0 and see max_inflight_messages in "
            "mosquitto.conf; see whether the network loses packets: ping -c 100",
            measured=measured,
        )
    if back > SLOW_ROUND_TRIP_S:
        return warning(
            f"{found}, which is slow",
            remedy="turn Wi-Fi power save off (see 'wi-fi'), go nearer to the access "
            "point, or use a cable",
            measured=measured,
        )
    return ok(found, measured=measured)


@dataclass(frozen=True, slots=True)
class PacketFacts:
    """The largest payload that came back, bytes, and what the broker announced."""

    largest: int
    announced: int | None = None


def judge_packets(facts: PacketFacts, *, block_bytes: int) -> Finding:
    """Return whether blocks of ``block_bytes`` get through."""
    measured = {
        "largest_payload_bytes": facts.largest,
        "announced_packet_bytes": facts.announced,
        "block_bytes": block_bytes,
    }
    most = "or more" if facts.largest >= MAX_PAYLOAD_BYTES else "and no larger"
    found = f"payloads of {facts.largest // 1024} KiB {most} come back"
    if facts.largest >= block_bytes:
        return ok(
            f"{found}; blocks of {block_bytes // 1024} KiB pass", measured=measured
        )
    if facts.largest < MIN_BLOCK_BYTES:
        return failed(
            "not even payloads of 1 KiB come back", remedy=_LARGER, measured=measured
        )
    if (
        facts.announced is not None
        and facts.announced < block_bytes + PACKET_OVERHEAD_BYTES
    ):
        return warning(
            f"{found}: the broker says so, and blobs are cut into smaller blocks than "
            f"{block_bytes // 1024} KiB",
            remedy=_LARGER,
            measured=measured,
        )
    fitting = 1 << (facts.largest.bit_length() - 1)
    return failed(
        f"{found}: blocks of {block_bytes // 1024} KiB do not pass, and the broker "
        "does not say so",
        remedy=f"{_LARGER}; or set [server] block_bytes = {fitting}",
        measured=measured,
    )


@dataclass(frozen=True, slots=True)
class RetainFacts:
    """A retained message on a topic of our own; ``problem`` is how it was refused."""

    problem: str = ""
    kept: bool = False
    cleared: bool = False


def judge_retain(facts: RetainFacts) -> Finding:
    """Return whether the broker keeps a message for who comes later."""
    measured = {"kept": facts.kept, "cleared": facts.cleared}
    if facts.problem or not facts.kept:
        why = f": {facts.problem}" if facts.problem else ""
        return failed(
            f"a retained message is not there for who subscribes later{why}",
            remedy="set retain_available true in mosquitto.conf, and let the access "
            "rules allow it",
            measured=measured,
        )
    if not facts.cleared:
        return warning(
            "a retained message is kept, and stays after it was cleared",
            remedy="let the access rules allow empty retained messages; ghosts of "
            "devices that were removed stay for ever otherwise",
            measured=measured,
        )
    return ok("a retained message is kept, and goes when it is cleared")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Something that was tried on a ``topic`` below the fleet's.

    ``allowed`` is None where the broker does not tell.
    """

    does: Literal["write", "read"]
    topic: str
    allowed: bool | None


def judge_device_access(attempts: tuple[Attempt, ...], *, identified: bool) -> Finding:
    """Return whether the broker refuses a device what is not its own.

    ``identified``: whether devices prove to it who they are at all.
    """
    open_ones = [one for one in attempts if one.allowed]
    refused = [one for one in attempts if one.allowed is False]
    measured = {
        "allowed": len(open_ones),
        "refused": len(refused),
        "unknown": len(attempts) - len(open_ones) - len(refused),
    }
    if open_ones and identified:
        return failed(
            f"the broker lets this device {_listed(open_ones)}",
            remedy="use the policy that 'edgefed broker init' writes, and restart the "
            "broker; see acl_file and per_listener_settings in mosquitto.conf",
            measured=measured,
        )
    if open_ones:
        return warning(
            f"without identities everybody on this machine may {_listed(open_ones)}",
            remedy="make a fleet (edgefed fleet init) and let this device join it "
            "(edgefed agent join)",
            measured=measured,
        )
    if not refused:
        return not_measured("MQTT 3.1.1 does not tell what it refuses")
    silent = measured["unknown"]
    more = f", and nothing came of {silent} that nobody answers for" if silent else ""
    return ok(
        f"{len(refused)} things that are not this device's were refused{more}",
        measured=measured,
    )


def judge_server_access(attempts: tuple[Attempt, ...]) -> Finding:
    """Return whether the broker lets the server do its work."""
    shut = [one for one in attempts if one.allowed is False]
    measured = {
        "allowed": sum(1 for one in attempts if one.allowed),
        "refused": len(shut),
    }
    if shut:
        return failed(
            f"the broker does not let the server {_listed(shut)}",
            remedy="use the policy that 'edgefed broker init' writes; the server needs "
            "all of its fleet: topic readwrite edgefed/1/FLEET/#",
            measured=measured,
        )
    return ok(
        f"the server may do all {len(attempts)} things that it has to",
        measured=measured,
    )


def _listed(attempts: list[Attempt]) -> str:
    written = [one.topic for one in attempts if one.does == "write"]
    read = [one.topic for one in attempts if one.does == "read"]
    parts = [
        f"{verb} {', '.join(topics)}"
        for verb, topics in (("write", written), ("read", read))
        if topics
    ]
    return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class StrangerFacts:
    """Whether who proves nothing got in at the broker's port, and in clear at 1883.

    None: it was not tried.
    """

    port: int
    same_port: bool | None
    clear_port: bool | None = None


def judge_strangers(facts: StrangerFacts) -> Finding:
    """Return whether the broker refuses who proves nothing."""
    if facts.same_port is None:
        return not_measured(
            "plain MQTT on this machine: everybody here is let in",
            remedy="edgefed fleet init, before any other machine is to take part",
        )
    measured = {"port": facts.same_port, "port_1883": facts.clear_port}
    if facts.same_port:
        return failed(
            f"port {facts.port} lets in who proves nothing",
            remedy="set require_certificate true (or allow_anonymous false, with "
            "passwords) for that listener in mosquitto.conf, and restart it",
            measured=measured,
        )
    if facts.clear_port:
        return warning(
            "port 1883 of the same machine lets in everybody, in clear",
            remedy="remove that listener from mosquitto.conf, or bind it to loopback: "
            "listener 1883 127.0.0.1; if it is another broker, all is well",
            measured=measured,
        )
    return ok(f"who proves nothing is refused on port {facts.port}", measured=measured)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server retained: ``online`` or ``offline``, and its greeting.

    ``problem`` is why the greeting is not to be trusted or read.
    """

    availability: str | None
    info: ServerInfo | None
    problem: str = ""


def judge_server(facts: ServerFacts, *, fleet: str) -> Finding:
    """Return whether a server of the fleet is there for a device."""
    if facts.problem:
        return failed(
            f"what says it is the server is not to be trusted: {facts.problem}",
            remedy="this device joined another fleet, or that server runs without "
            "[security] fleet_dir: correct it, or join again: edgefed agent join",
        )
    info = facts.info
    if info is None or facts.availability != "online":
        seen = "is offline" if facts.availability == "offline" else "was never here"
        return warning(
            f"the server of fleet {fleet} {seen}: this device will wait",
            remedy="edgefed server run --config server.toml, on the server's machine; "
            "see that [server] fleet and [agent] fleet are the same",
            measured={"online": False},
        )
    return ok(
        f"online, with model {info.model}, blocks of {info.block_bytes:,} bytes",
        measured={"online": True, "block_bytes": info.block_bytes},
    )
