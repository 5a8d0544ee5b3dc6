"""What an observer of a federation knows, folded from messages. This module is pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from wire_protocol.errors import DecodeError
from wire_protocol.fields import Fields, json_object
from wire_protocol.framing import expect
from wire_protocol.messages import MAX_COHORT, CheckIn
from wire_protocol.topics import Topics


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device as its own messages show it. Byte counts are of its socket."""

    online: bool = False
    runtime: str = ""
    num_examples: int = 0
    phase: str = "starting"
    round: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    rss_mib: float = 0.0


@dataclass(frozen=True, slots=True)
class ServerState:
    """The server as its own messages show it."""

    phase: str = "starting"
    round: int = 0
    version: int = 0
    cohort: tuple[str, ...] = ()
    received: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FleetState:
    """Everybody."""

    server: ServerState = field(default_factory=ServerState)
    devices: Mapping[str, DeviceState] = field(default_factory=dict)


def seen(state: FleetState, levels: tuple[str, ...], payload: bytes) -> FleetState:
    """Return ``state`` after a message; what is not understood changes nothing."""
    try:
        match levels:
            case ("server", "state"):
                return replace(state, server=_server(_json(payload)))
            case ("d", device, *what):
                known = state.devices.get(device, DeviceState())
                changed = _device(known, what, payload)
                return replace(state, devices={**state.devices, device: changed})
    except DecodeError:
        pass
    return state


def observed_topics(topics: Topics) -> tuple[str, ...]:
    """Return the filters an observer subscribes to."""
    return (
        topics.server_state,
        *(
            topics.device("+", channel)
            for channel in ("availability", "info", "state", "telemetry")
        ),
    )


def _device(known: DeviceState, what: list[str], payload: bytes) -> DeviceState:
    match what:
        case ["availability"]:
            online = payload == b"online"
            return replace(
                known, online=online, phase=known.phase if online else "offline"
            )
        case ["info"]:
            check_in, _ = expect(CheckIn, payload)
            return replace(
                known, runtime=check_in.runtime, num_examples=check_in.num_examples
            )
        case ["state"]:
            fields = _json(payload)
            return replace(
                known,
                phase=fields.text("phase", longest=32),
                round=fields.whole("round"),
            )
        case ["telemetry"]:
            fields = _json(payload)
            return replace(
                known,
                bytes_sent=fields.whole("bytes_up"),
                bytes_received=fields.whole("bytes_down"),
                rss_mib=fields.real("rss_mib"),
            )
    return known


def _server(fields: Fields) -> ServerState:
    return ServerState(
        phase=fields.text("phase", longest=32),
        round=fields.whole("round"),
        version=fields.whole("version"),
        cohort=fields.texts("cohort", most=MAX_COHORT),
        received=fields.texts("received", most=MAX_COHORT),
    )


def _json(payload: bytes) -> Fields:
    return Fields(json_object(payload, what="what is shown to people"), owner="state")
