"""Sensors on topics: from messages to examples in the log, whatever is sent."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.data_settings import (
    DataSettings,
    LabelSettings,
    MqttSettings,
    StatestreamSettings,
    StoreSettings,
    WindowSettings,
)
from edge_agent.example_log import ExampleLog, Limits
from edge_agent.holdout import Split
from edge_agent.sources.maker import Maker
from edge_agent.sources.sensors import Sensors, wiring
from edge_agent.state_files import StateFiles
from wire_protocol.errors import ConfigError

FEW = settings(max_examples=40)
"""Each case writes files."""

IMU, BUTTON = "sensors/imu", "room/activity"
CLASSES = {"idle": 0, "walk": 1}
BY_TOPIC = LabelSettings(by="topic", topic=BUTTON, classes=CLASSES)


class Bench:
    """Sensors on a log, fed by hand."""

    def __init__(self, folder: Path, settings: DataSettings) -> None:
        wired = wiring(settings)
        maker = Maker(settings, channels=wired.names)
        self.log = ExampleLog(
            StateFiles(folder), form=maker.form, limits=Limits(), split=Split(0.0)
        )
        self.sensors = Sensors(wired, settings, maker=maker, log_=self.log)

    def send(
        self, topic: str, value: object, *, at: float, retained: bool = False
    ) -> None:
        payload = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.sensors.receive(topic, payload, retained=retained, at=at)

    @property
    def examples(self) -> tuple[list[object], list[object]]:
        taken = self.log.snapshot().training
        return taken.x.tolist(), taken.y.tolist()


def imu(
    *, labels: LabelSettings = BY_TOPIC, length: int = 2, hop: int = 0,
    period_s: float = 0.0, store: StoreSettings | None = None,
) -> DataSettings:  # fmt: skip
    return DataSettings(
        source="mqtt",
        window=WindowSettings(length, hop, period_s=period_s, max_age_s=1.0),
        labels=labels,
        mqtt=MqttSettings(IMU, {"x": "$.a[0]", "y": "$['a'][1]"}),
        store=store or StoreSettings(),
    )


def test_messages_become_labelled_windows(tmp_path: Path) -> None:
    bench = Bench(tmp_path, imu())
    assert bench.sensors.topics == {IMU, BUTTON}
    for number in range(4):
        bench.send(IMU, {"a": [number, -number]}, at=number / 10)
    assert bench.examples == ([], [])  # nobody said what it is
    bench.send(BUTTON, b"walk", at=0.4)
    for number in range(4, 8):
        bench.send(IMU, {"a": [number, -number]}, at=number / 10)
    assert bench.examples == (
        [[[4.0, -4.0], [5.0, -5.0]], [[6.0, -6.0], [7.0, -7.0]]],
        [1, 1],
    )
    assert bench.sensors.trouble == {"a window: it has no label": 2}


@pytest.mark.parametrize("changed", ["drop", "majority"])
def test_a_window_whose_label_changes_is_left_out_or_goes_with_most(
    tmp_path: Path, changed: str
) -> None:
    labels = LabelSettings(
        by="topic", topic=BUTTON, classes=CLASSES,
        changed="drop" if changed == "drop" else "majority",
    )  # fmt: skip
    bench = Bench(tmp_path, imu(labels=labels, length=3))
    bench.send(BUTTON, "walk", at=0)
    for number in range(6):
        if number == 2:
            bench.send(BUTTON, "idle", at=0.2)
        bench.send(IMU, {"a": [number, 0]}, at=number / 10)
    assert bench.examples[1] == ([0] if changed == "drop" else [1, 0])


GAPS: dict[str, tuple[object, float, bool]] = {
    "a channel is missing": ({"a": [1]}, 0.15, False),
    "a value is no number": ({"a": [1, None]}, 0.15, False),
    "no JSON": (b"{" * 100, 0.15, False),
    "a huge payload": (b" " * 200_000, 0.15, False),
    "no text": (b"\xff", 0.15, False),
    "a list": ([1, 2], 0.15, False),
}


@pytest.mark.parametrize("name", GAPS)
def test_a_gap_breaks_a_window(tmp_path: Path, name: str) -> None:
    value, at, retained = GAPS[name]
    bench = Bench(tmp_path, imu(labels=LabelSettings()))
    bench.send(IMU, {"a": [1, 1]}, at=0.1)
    bench.send(IMU, value, at=at, retained=retained)
    bench.send(IMU, {"a": [2, 2]}, at=0.2)
    assert bench.examples == ([], [])
    bench.send(IMU, {"a": [3, 3]}, at=0.3)
    assert bench.examples[0] == [[[2.0, 2.0], [3.0, 3.0]]]


def test_silence_breaks_a_window_and_what_the_broker_kept_is_no_data(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, imu(labels=LabelSettings()))
    bench.send(IMU, {"a": [9, 9]}, at=0.0, retained=True)
    bench.send(IMU, {"a": [1, 1]}, at=0.1)
    bench.send(IMU, {"a": [2, 2]}, at=1.2)  # more than a second later
    assert bench.examples[0] == []
    bench.send(IMU, {"a": [3, 3]}, at=1.3)
    assert bench.examples[0] == [[[2.0, 2.0], [3.0, 3.0]]]


def test_a_label_that_the_broker_kept_holds(tmp_path: Path) -> None:
    bench = Bench(tmp_path, imu(length=0))
    bench.send(BUTTON, "idle", at=0.0, retained=True)
    bench.send(IMU, {"a": [1, 2]}, at=0.1)
    bench.send(BUTTON, "cat", at=0.2)
    bench.send(IMU, {"a": [3, 4]}, at=0.3)
    bench.send(BUTTON, "unavailable", at=0.4)
    bench.send(IMU, {"a": [5, 6]}, at=0.5)
    assert bench.examples == ([[1.0, 2.0]], [0])
    assert bench.sensors.trouble[f"{BUTTON}: 'cat' is no class"] == 1


def test_one_message_may_hold_many_rows(tmp_path: Path) -> None:
    settings = DataSettings(
        source="mqtt",
        window=WindowSettings(length=3, max_age_s=1.0),
        mqtt=MqttSettings(channels={"x": f"{IMU} $[*].x", "y": f"{IMU} $[*]['y']"}),
    )
    bench = Bench(tmp_path, settings)
    bench.send(IMU, [{"x": n, "y": 2 * n} for n in range(7)], at=0)
    assert bench.examples[0] == [
        [[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]],
        [[3.0, 6.0], [4.0, 8.0], [5.0, 10.0]],
    ]


def test_topics_are_brought_together_at_fixed_times(tmp_path: Path) -> None:
    settings = DataSettings(
        source="mqtt",
        window=WindowSettings(length=2, period_s=1.0, max_age_s=3.0),
        mqtt=MqttSettings(channels={"t": "a/t $", "h": "a/h $.h"}),
        labels=LabelSettings(by="rule", rules=("1: t > 20 and h < 0.5",), default="0"),
    )
    bench = Bench(tmp_path, settings)
    bench.send("a/t", b"21.5", at=0.0)
    bench.send("a/h", {"h": 0.25}, at=0.0)
    bench.send("a/t", b"10.5", at=1.5)
    bench.sensors.look(at=3.5)
    assert bench.examples == (
        [[[21.5, 0.25], [21.5, 0.25]], [[10.5, 0.25], [10.5, 0.25]]],
        [1, 0],
    )
    bench.sensors.look(at=30)  # they have been silent for too long
    assert len(bench.examples[0]) == 2


ROOM = DataSettings(
    source="statestream",
    window=WindowSettings(length=0, period_s=60.0, max_age_s=600.0),
    statestream=StatestreamSettings(
        "ha", {"t": "sensor.room", "open": "binary_sensor.win", "set": "climate.c/temp"}
    ),
    labels=LabelSettings(by="topic", topic="input_select.who", classes=CLASSES),
)


def test_states_of_home_assistant_are_sampled_and_unavailable_is_a_gap(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, ROOM)
    assert bench.sensors.topics == {
        "ha/sensor/room/state",
        "ha/binary_sensor/win/state",
        "ha/climate/c/temp",
        "ha/input_select/who/state",
    }
    # it keeps every state: what it kept is how things are now
    for topic, state in (
        ("ha/input_select/who/state", b"walk"),
        ("ha/sensor/room/state", b"20.5"),
        ("ha/binary_sensor/win/state", b"on"),
        ("ha/climate/c/temp", b"19"),
    ):
        bench.send(topic, state, at=0.0, retained=True)
    bench.send("ha/binary_sensor/win/state", b"off", at=61.0)
    bench.send("ha/sensor/room/state", b"unavailable", at=130.0)
    bench.send("ha/sensor/room/state", b"21.5", at=250.0)
    bench.sensors.look(at=301.0)
    assert bench.examples == (
        [[20.5, 1.0, 19.0]] * 2 + [[20.5, 0.0, 19.0], [21.5, 0.0, 19.0]],
        [1] * 4,
    )


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "no topic": ({"x": "$.a"}, "channel x is"),
    "no path": ({"x": "sensors/imu"}, "channel x is"),
    "a wildcard": ({"x": "sensors/+ $.a"}, "is none that a sensor may have"),
    "a topic of ours": ({"x": "edgefed/1/home/d/a/info $"}, "is none that a sensor"),
    "a wrong path": ({"x": "a $..b"}, "is not understood"),
    "two topics by arrival": ({"x": "a $", "y": "b $"}, "no window.period_s"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wiring_that_cannot_be_meant_is_refused(name: str) -> None:
    channels, problem = WRONG[name]
    settings = DataSettings(
        source="mqtt",
        window=WindowSettings(max_age_s=1.0),
        mqtt=MqttSettings(channels=channels),
    )
    with pytest.raises(ConfigError, match=problem) as caught:
        wiring(settings)
    assert caught.value.remedy


@pytest.mark.parametrize("entity", ["room", "sensor.", ".room", "a.b/c/d", ""])
def test_an_entity_that_is_none_is_refused(entity: str) -> None:
    settings = DataSettings(
        source="statestream",
        window=WindowSettings(period_s=1.0, max_age_s=1.0),
        statestream=StatestreamSettings(entities={"x": entity}),
    )
    with pytest.raises(ConfigError, match="is none"):
        wiring(settings)


def test_channels_are_told_apart_in_rules() -> None:
    settings = DataSettings(
        source="mqtt",
        window=WindowSettings(max_age_s=1.0),
        mqtt=MqttSettings(channels={"mean": "a $"}),
    )
    with pytest.raises(ConfigError, match="channels are called mean"):
        Maker(settings, channels=wiring(settings).names)


def test_a_flood_fills_neither_memory_nor_card(tmp_path: Path) -> None:
    bench = Bench(tmp_path, imu(labels=LabelSettings(), length=0))
    for number in range(5000):
        bench.send(IMU, {"a": [number, number]}, at=0.0)
        bench.send(IMU, b"{" * (number % 50), at=0.0)
    assert bench.log.waiting == 4 * Limits().waiting
    assert sum(bench.sensors.trouble.values()) > 4000
    assert len(bench.sensors.trouble) < 10


def test_troubles_without_end_are_counted_in_bounded_memory(tmp_path: Path) -> None:
    bench = Bench(tmp_path, imu())
    for number in range(1000):
        bench.send(BUTTON, f"name {number}", at=0.0)
    assert len(bench.sensors.trouble) == 64


MESSAGES = st.tuples(
    st.sampled_from([IMU, BUTTON]),
    st.sampled_from(
        [b'{"a":[1,2]}', b"walk", b'"idle"', b"", b"null", b"[]", b"[[1,2]]"]
    )
    | st.binary(max_size=20),
    st.booleans(),
    st.floats(-1, 2),
)


@FEW
@given(
    messages=st.lists(MESSAGES, max_size=30),
    period_s=st.sampled_from([0.0, 0.25]),
)
def test_whatever_is_sent_examples_are_finite_and_labelled(
    tmp_path_factory: pytest.TempPathFactory,
    messages: list[tuple[str, bytes, bool, float]],
    period_s: float,
) -> None:
    bench = Bench(tmp_path_factory.mktemp("sensors"), imu(period_s=period_s))
    at = 0.0
    for topic, payload, retained, wait in messages:
        at += wait
        bench.sensors.receive(topic, payload, retained=retained, at=at)
    taken = bench.log.snapshot().training
    assert np.isfinite(taken.x).all()
    assert set(taken.y.tolist()) <= {0, 1}
