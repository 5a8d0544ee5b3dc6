"""Section ``[data]``: where a device's examples come from, and what is kept of them."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, Literal

from wire_protocol.errors import ConfigError

_LABELS_OF: Final = {
    "npz": ("none",),
    "python": ("none",),
    "folder": ("none", "column", "numbers", "file", "rule", "ahead"),
    "mqtt": ("none", "topic", "rule", "ahead"),
    "statestream": ("none", "topic", "rule", "ahead"),
}
_NEEDED: Final = {
    "column": "column",
    "numbers": "columns",
    "topic": "topic",
    "file": "file",
    "rule": "rules",
    "ahead": "columns",
}
MAX_WINDOW: Final = 100_000


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """``[data.store]``: what is kept of what sensors make, and when it is written."""

    max_examples: int = 10_000
    max_mib: int = 32
    min_examples: int = 1
    flush_s: float = 60.0
    flush_examples: int = 64
    write_mib_a_day: float = 64.0

    def __post_init__(self) -> None:
        _check_ranges(
            self,
            max_examples=(1, 10_000_000),
            max_mib=(1, 4096),
            min_examples=(1, 10_000_000),
            flush_s=(0.1, 86_400),
            flush_examples=(1, 100_000),
            write_mib_a_day=(0.1, 1_000_000),
        )
        if self.min_examples > self.max_examples:
            raise ConfigError(
                f"min_examples {self.min_examples} is more than max_examples",
                remedy="the device would never take part",
            )


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """``[data.window]``: how rows become examples.

    Attributes:
        length: Rows in an example ``[length, channels]``; 0: each row is one.
        hop: Rows from one example to the next; 0: ``length``, so that none overlap.
        period_s: Time between rows; 0: a row for every message that comes.
        max_age_s: How long a value is held, and the longest silence in a window.
    """

    length: int = 0
    hop: int = 0
    period_s: float = 0.0
    max_age_s: float = 0.0

    def __post_init__(self) -> None:
        _check_ranges(
            self,
            length=(0, MAX_WINDOW),
            hop=(0, 1_000_000),
            period_s=(0, 86_400),
            max_age_s=(0, 31_536_000),
        )
        if 0 < self.period_s < 0.001 or self.max_age_s > 1e6 * (self.period_s or 1e9):
            raise ConfigError(
                f"period_s is 0 or at least 0.001, and max_age_s not more than a "
                f"million of it, not {self.period_s} and {self.max_age_s}",
                remedy="sample less often, or hold values for a shorter time",
            )

    @property
    def rows(self) -> int:
        """Rows in an example."""
        return self.length or 1

    @property
    def step(self) -> int:
        """Rows from one example to the next."""
        return self.hop or self.rows

    @property
    def run(self) -> int:
        """Examples in a row that are held out together, since they share rows."""
        return 1 if self.step >= self.rows else 4 * -(-self.rows // self.step)


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """``[data.labels]``: what each example is to teach.

    Attributes:
        by: Where labels come from; "none": the model needs none.
        column: CSV column of the class, for "column".
        columns: CSV columns of the numbers to learn, for "numbers"; channels to look
            ``ahead`` at, for "ahead".
        steps: How many rows ahead, for "ahead".
        topic: Where the label of now is published, for "topic".
        path: JSONPath in its messages.
        file: CSV with ``start,end,label``, for "file".
        rules: Tried in order, for "rule".
        default: Label of what no rule is about; empty: it is no example.
        classes: Number of each label; empty: labels are the numbers.
        changed: What becomes of a window in which the label changes.
    """

    by: Literal["none", "column", "numbers", "topic", "file", "rule", "ahead"] = "none"
    column: str = ""
    columns: tuple[str, ...] = ()
    steps: int = 1
    topic: str = ""
    path: str = "$"
    file: Path | None = None
    rules: tuple[str, ...] = ()
    default: str = ""
    classes: dict[str, int] = field(default_factory=dict)
    changed: Literal["drop", "majority"] = "drop"

    def __post_init__(self) -> None:
        _check_ranges(self, steps=(1, MAX_WINDOW))
        needed = _NEEDED.get(self.by)
        if needed and not getattr(self, needed):
            raise ConfigError(
                f'by = "{self.by}" has no {needed}', remedy=f"add {needed}"
            )
        for name, number in self.classes.items():
            if not 0 <= number <= 65_535:
                raise ConfigError(
                    f"classes.{name} is 0 to 65535, not {number}",
                    remedy="number the classes from 0",
                )


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """``[data.folder]``: NPZ and CSV files; ``columns`` and ``time`` are of CSV."""

    path: Path | None = None
    columns: tuple[str, ...] = ()
    time: str = ""


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """``[data.mqtt]``: channels, each ``"topic $.path"``, or with ``topic`` a path."""

    topic: str = ""
    channels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatestreamSettings:
    """``[data.statestream]``: channels, each an entity of Home Assistant."""

    base: str = "homeassistant"
    entities: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PythonSettings:
    """``[data.python]``: your own function, in a file or an installed module."""

    file: Path | None = None
    module: str = ""
    function: str = "examples"


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Section ``[data]``: the local examples and how many are held out."""

    examples: Path | None = None
    holdout: float = 0.2
    seed: int = 0
    source: Literal["npz", "folder", "mqtt", "statestream", "python"] = "npz"
    store: StoreSettings = field(default_factory=StoreSettings)
    window: WindowSettings = field(default_factory=WindowSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    folder: FolderSettings = field(default_factory=FolderSettings)
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    statestream: StatestreamSettings = field(default_factory=StatestreamSettings)
    python: PythonSettings = field(default_factory=PythonSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.holdout < 1:
            raise ConfigError(
                f"holdout is a fraction in [0, 1), not {self.holdout}",
                remedy="0.2 holds out one example in five",
            )
        if self.seed < 0:
            raise ConfigError(f"seed is 0 or more, not {self.seed}", remedy="use 0")
        self._check_source()
        self._check_sections()

    def _check_source(self) -> None:
        lacks = {
            "npz": ("examples", self.examples),
            "folder": ("folder.path", self.folder.path),
            "mqtt": ("mqtt.channels", self.mqtt.channels),
            "statestream": ("statestream.entities", self.statestream.entities),
            "python": ("python.file", self.python.file or self.python.module),
        }
        name, given = lacks[self.source]
        if not given:
            raise ConfigError(
                f"has no {name}",
                remedy=f'add it, since source = "{self.source}", or choose another '
                f"source: {', '.join(lacks)}",
            )
        sensed = self.source in ("mqtt", "statestream")
        if sensed and not self.window.max_age_s:
            raise ConfigError(
                "has no window.max_age_s",
                remedy="add it: how long a sensor may be silent before data is missing",
            )
        if self.source == "statestream" and not self.window.period_s:
            raise ConfigError(
                "has no window.period_s",
                remedy="add it: Home Assistant only tells changes, so say how often "
                "to look",
            )

    def _check_sections(self) -> None:
        """Refuse what is set and has no effect."""
        for name in ("folder", "mqtt", "statestream", "python"):
            section = getattr(self, name)
            if name != self.source and section != type(section)():
                raise ConfigError(
                    f'has a section {name}, but its source is "{self.source}"',
                    remedy=f'say source = "{name}", or remove that section',
                )
        if self.examples and self.source != "npz":
            raise ConfigError(
                f'has examples, but its source is "{self.source}"',
                remedy='say source = "npz", or remove examples',
            )
        known = _LABELS_OF[self.source]
        if self.labels.by not in known:
            raise ConfigError(
                f'labels.by is "{self.labels.by}", and source "{self.source}" knows '
                f"{', '.join(known)}",
                remedy="choose one of those",
            )
        if self.labels.by == "file" and not self.folder.time:
            raise ConfigError(
                'has labels by = "file" and no folder.time',
                remedy="name the CSV column that has the time of each row",
            )


def _check_ranges(section: object, **ranges: tuple[float, float]) -> None:
    names = {item.name for item in fields(section)}  # type: ignore[arg-type]
    assert names >= set(ranges)
    for name, (least, most) in ranges.items():
        value = getattr(section, name)
        if not least <= value <= most:
            raise ConfigError(
                f"{name} is {least:g} to {most:g}, not {value}",
                remedy="correct its value",
            )
