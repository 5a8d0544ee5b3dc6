"""The observer's fold: known messages are understood, others change nothing."""

import json

from hypothesis import given
from hypothesis import strategies as st

from broker_server.publications import ServerState
from tools.demo.fleet_state import FleetState, observed_topics, seen
from wire_protocol.framing import frame
from wire_protocol.messages import CheckIn
from wire_protocol.topics import Topics

CHECK_IN = frame(
    CheckIn(
        conn=1, runtime="litert 2.3.0", family="tflite", codecs=("uq",), num_examples=9
    )
)


def _fold(*messages: tuple[tuple[str, ...], bytes]) -> FleetState:
    state = FleetState()
    for levels, payload in messages:
        state = seen(state, levels, payload)
    return state


def test_a_device_is_pieced_together() -> None:
    telemetry = {"round": 3, "bytes_up": 10, "bytes_down": 20, "rss_mib": 51.5}
    device = _fold(
        (("d", "pi", "availability"), b"online"),
        (("d", "pi", "info"), CHECK_IN),
        (("d", "pi", "state"), json.dumps({"phase": "training", "round": 3}).encode()),
        (("d", "pi", "telemetry"), json.dumps(telemetry).encode()),
    ).devices["pi"]
    assert device.online
    assert (device.runtime, device.num_examples) == ("litert 2.3.0", 9)
    assert (device.phase, device.round) == ("training", 3)
    assert (device.bytes_sent, device.bytes_received) == (10, 20)


def test_the_server_is_read_as_it_writes_itself() -> None:
    shown = ServerState(
        phase="finished",
        round=5,
        version=5,
        devices=2,
        cohort=("a", "b"),
        received=["a"],
    )
    server = _fold((("server", "state"), shown.to_json())).server
    assert (server.phase, server.round, server.version) == ("finished", 5, 5)
    assert (server.cohort, server.received) == (("a", "b"), ("a",))


def test_a_device_that_leaves_is_offline() -> None:
    device = _fold(
        (("d", "pi", "availability"), b"online"),
        (("d", "pi", "availability"), b"offline"),
    ).devices["pi"]
    assert not device.online
    assert device.phase == "offline"


@given(
    levels=st.lists(
        st.sampled_from(["d", "server", "state", "info", "telemetry", "x"]), max_size=4
    ),
    payload=st.binary(max_size=60)
    | st.builds(
        lambda value: json.dumps(value).encode(),
        st.dictionaries(
            st.sampled_from(["phase", "round", "bytes_up"]),
            st.integers() | st.text(max_size=4),
        ),
    ),
)
def test_any_message_is_understood_or_changes_nothing(
    levels: list[str], payload: bytes
) -> None:
    seen(FleetState(), tuple(levels), payload)


def test_an_observer_subscribes_to_states_and_not_to_models() -> None:
    assert not any("blob" in topic for topic in observed_topics(Topics("home")))
