"""Sensors on MQTT topics, those of Home Assistant's statestream among them.

What comes is untrusted: a message that is too large or no JSON is left out, and each
kind of trouble is told once.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from edge_agent.data_settings import DataSettings
from edge_agent.example_log import ExampleLog
from edge_agent.sources.feed import Feed, News, write_in_batches
from edge_agent.sources.json_path import JsonPath, parse_path
from edge_agent.sources.labels import class_of
from edge_agent.sources.maker import Maker
from edge_agent.sources.readings import json_of, rows_of, text_of
from edge_agent.sources.sampling import Arrivals, Clocked, Row
from edge_agent.sources.windows import Label
from edge_agent.state_files import StorageError
from wire_protocol.errors import ConfigError, DecodeError

log = logging.getLogger(__name__)

_OUR_TOPICS: Final = "edgefed/"


@dataclass(frozen=True, slots=True)
class Channel:
    """One number of every row: where it comes from."""

    name: str
    topic: str
    path: JsonPath


@dataclass(frozen=True, slots=True)
class Wiring:
    """Which topics are heard, and what they say.

    ``retained`` tells whether a kept message is news: Home Assistant keeps the state of
    now, while a sensor's kept message may be from any time.
    """

    channels: tuple[Channel, ...]
    label: Channel | None
    retained: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Of the channels, in order."""
        return tuple(channel.name for channel in self.channels)


def wiring(settings: DataSettings) -> Wiring:
    """Return what ``[data]`` says of topics.

    Raises:
        ConfigError: A topic or a JSONPath is none.
    """
    stream = settings.source == "statestream"
    if stream:
        base = settings.statestream.base
        channels = [
            Channel(name, _entity_topic(base, entity), parse_path("$"))
            for name, entity in settings.statestream.entities.items()
        ]
    else:
        channels = [
            _channel(name, text, topic=settings.mqtt.topic)
            for name, text in settings.mqtt.channels.items()
        ]
    label = None
    if settings.labels.by == "topic":
        topic = settings.labels.topic
        if stream and "/" not in topic:
            topic = _entity_topic(settings.statestream.base, topic)
        label = Channel("label", topic, parse_path(settings.labels.path))
    for channel in (*channels, *([label] if label else [])):
        _check_topic(channel.topic)
    topics = {channel.topic for channel in channels}
    if not settings.window.period_s and len(topics) > 1:
        raise ConfigError(
            f"[data] has channels on {len(topics)} topics and no window.period_s",
            remedy="add it: rows of several topics are taken at fixed times",
        )
    return Wiring(tuple(channels), label, retained=stream)


class Sensors:
    """Makes examples of the messages of a wiring, into a log.

    ``at`` is the time of arrival, from a clock that only grows.
    """

    def __init__(
        self, wired: Wiring, settings: DataSettings, *, maker: Maker, log_: ExampleLog
    ) -> None:
        self._wired = wired
        self._settings = settings.labels
        self._maker = maker
        self._log = log_
        window = settings.window
        self._arrivals = Arrivals(max_age_s=window.max_age_s)
        self._clocked: Clocked | None = None
        if window.period_s:
            self._clocked = Clocked(
                channels=len(wired.channels),
                period_s=window.period_s,
                max_age_s=window.max_age_s,
            )
        self._label: Label = None
        self.trouble: Counter[str] = Counter()
        """What went wrong, how often: messages and windows that gave no example."""

    @property
    def topics(self) -> frozenset[str]:
        """What to subscribe to."""
        label = [self._wired.label] if self._wired.label else []
        return frozenset(channel.topic for channel in (*self._wired.channels, *label))

    def receive(self, topic: str, payload: bytes, *, retained: bool, at: float) -> None:
        """Take a message; whatever it holds, nothing is raised."""
        try:
            value = json_of(payload)
        except DecodeError as error:
            self._complain(error.problem.partition(";")[0], about=topic)
            value = None  # a gap, not the last value for ever
        label = self._wired.label
        if label is not None and topic == label.topic:
            self.look(at=at)  # what is due had the label of before
            self._set_label(value)
        channels = [
            (index, channel)
            for index, channel in enumerate(self._wired.channels)
            if channel.topic == topic
        ]
        if not channels or (retained and not self._wired.retained):
            return
        rows = rows_of(value, tuple(channel.path for _, channel in channels))
        if self._clocked is None:
            self._push(self._arrivals.take(rows, at=at))
        else:
            last = rows[-1] if rows else (None,) * len(channels)
            named = {index: x for (index, _), x in zip(channels, last, strict=True)}
            self._push(self._clocked.take(named, at=at))

    def look(self, *, at: float) -> None:
        """Make the examples that are due, without a message."""
        if self._clocked is not None:
            self._push(self._clocked.due(at=at))

    def _set_label(self, value: object) -> None:
        label = self._wired.label
        assert label is not None
        found = label.path.find(value)
        name = text_of(found[0]) if found else None
        self._label = class_of(name, self._settings.classes)
        if name is not None and self._label is None:
            self._complain(f"{name!r:.40} is no class", about=label.topic)

    def _push(self, rows: Iterable[Row]) -> None:
        for row in rows:
            made = self._maker.push(row, self._label)
            if isinstance(made, str):
                self._complain(made, about="a window")
            elif made is not None and (problem := self._log.append(made.x, made.y)):
                self._complain(problem, about="[data.store]")

    def _complain(self, problem: str, *, about: str) -> None:
        text = f"{about}: {problem}"
        if len(self.trouble) < 64 and text not in self.trouble:
            log.warning("an example is left out (told once): %s", text)
        if len(self.trouble) < 64 or text in self.trouble:
            self.trouble[text] += 1


def sensor_feed(
    sensors: Sensors,
    log_: ExampleLog,
    settings: DataSettings,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Feed:
    """Return the feed of ``sensors`` into ``log_``."""
    due = asyncio.Event()
    store = settings.store

    def receive(topic: str, payload: bytes, retained: bool) -> None:
        sensors.receive(topic, payload, retained=retained, at=clock())
        if log_.waiting >= store.flush_examples:
            due.set()

    def write() -> int:
        return log_.flush()

    async def run(news: News) -> None:
        looking = asyncio.create_task(_look(sensors, store.flush_s, clock))
        try:
            await write_in_batches(write, due=due, every_s=store.flush_s, news=news)
        finally:
            looking.cancel()

    return Feed(sensors.topics, receive, run, lambda: close_log(log_))


async def _look(sensors: Sensors, every_s: float, clock: Callable[[], float]) -> None:
    while True:
        await asyncio.sleep(every_s)
        sensors.look(at=clock())


def close_log(log_: ExampleLog) -> None:
    """Write what waits; what cannot be written is lost, and said."""
    try:
        log_.flush()
    except StorageError as error:
        log.warning("%d examples are lost: %s", log_.waiting, error)


def _channel(name: str, text: str, *, topic: str) -> Channel:
    own, dollar, path = text.partition("$")
    given = own.strip() or topic
    if not dollar or not given:
        raise ConfigError(
            f"[data.mqtt] channel {name} is {text!r:.80}",
            remedy='write "topic $.path", or a topic for all and "$.path"',
        )
    return Channel(name, given, parse_path("$" + path.strip()))


def _entity_topic(base: str, entity: str) -> str:
    """Return the topic of an entity's state, or of ``entity/attribute``.

    >>> _entity_topic("ha", "sensor.kitchen"), _entity_topic("ha", "climate.den/temp")
    ('ha/sensor/kitchen/state', 'ha/climate/den/temp')
    """
    name, _, attribute = entity.partition("/")
    domain, dot, thing = name.partition(".")
    if not (domain and dot and thing) or "/" in attribute:
        raise ConfigError(
            f"entity {entity!r:.80} is none",
            remedy="write domain.object, or domain.object/attribute",
        )
    return f"{base}/{domain}/{thing}/{attribute or 'state'}"


def _check_topic(topic: str) -> None:
    wrong = any(sign in topic for sign in "+#\0") or not topic.isprintable()
    if wrong or not 0 < len(topic.encode()) <= 1024 or topic.startswith(_OUR_TOPICS):
        raise ConfigError(
            f"topic {topic!r:.80} is none that a sensor may have",
            remedy="name one topic, without + and #, and none of edgefed's own",
        )
