"""Labels: what the example cut from a window is to teach.

This module is pure.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from edge_agent.data_settings import LabelSettings
from edge_agent.sources.windows import Label, Window
from wire_protocol.errors import ConfigError
from wire_protocol.selftest import Targets

MAX_CLASS: Final = 65_535
RESERVED: Final = frozenset(("and", "or", "not", "mean", "min", "max", "first", "last"))
"""What no channel is called: rules have these words."""
Teach: TypeAlias = "Callable[[Window], Targets | str]"
"""Returns the target of a window, or why it is no example."""

UNLABELLED = "it has no label"
CHANGED = "its label changes in it"


def class_of(name: str | None, classes: Mapping[str, int]) -> Label:
    """Return the class called ``name``; None: there is none.

    >>> class_of("walking", {"idle": 0, "walking": 1}), class_of("3", {})
    (1, 3)
    """
    if name is None:
        return None
    if classes:
        return classes.get(name)
    if name.isascii() and name.isdecimal() and len(name) <= 5:
        return int(name) if int(name) <= MAX_CLASS else None
    return None


def teacher(settings: LabelSettings, *, channels: Sequence[str]) -> Teach:
    """Return what finds the targets of windows of ``channels``.

    Raises:
        ConfigError: A rule is not understood, or names a channel or class that is none.
    """
    check_channels(channels)
    match settings.by:
        case "none":
            return lambda _: np.zeros(0, np.float32)
        case "rule":
            return _ruled(settings, channels)
        case "ahead":
            return _foretold([_place(name, channels) for name in settings.columns])
        case "numbers":
            return lambda window: window.rows[-1, len(channels) :]
        case _:
            majority = settings.changed == "majority"
            return lambda window: _agreed(window.labels, majority=majority)


def check_channels(channels: Sequence[str]) -> None:
    """Raise ``ConfigError`` unless ``channels`` can be told apart in rules."""
    wrong = [name for name in channels if not name or name in RESERVED]
    if wrong or len(set(channels)) != len(channels):
        raise ConfigError(
            f"channels are called {', '.join(channels)!s:.200}",
            remedy="call each one differently, and none of them "
            + ", ".join(sorted(RESERVED)),
        )


def _ruled(settings: LabelSettings, channels: Sequence[str]) -> Teach:
    from edge_agent.sources.rules import (  # noqa: PLC0415 - few devices need them
        holds,
        parse_rule,
    )

    rules = [parse_rule(text, channels=channels) for text in settings.rules]
    numbered = [(_number(rule.label, settings), rule) for rule in rules]
    default = _number(settings.default, settings) if settings.default else None

    def teach(window: Window) -> Targets | str:
        rows = window.rows[: len(window.labels)]
        first = (number for number, rule in numbered if holds(rule.condition, rows))
        number = next(first, default)
        return UNLABELLED if number is None else _class(number)

    return teach


def _number(name: str, settings: LabelSettings) -> int:
    number = class_of(name, settings.classes)
    if number is None:
        raise ConfigError(
            f"label {name!r:.40} of a rule is no class",
            remedy="add it to [data.labels.classes], or use numbers as labels",
        )
    return number


def _foretold(places: list[int]) -> Teach:
    return lambda window: window.rows[-1, places]


def _place(name: str, channels: Sequence[str]) -> int:
    if name not in channels:
        raise ConfigError(
            f"{name!r:.40} is no channel; there are {', '.join(channels)}",
            remedy="correct [data.labels] columns",
        )
    return channels.index(name)


def _agreed(labels: Sequence[Label], *, majority: bool) -> Targets | str:
    counts: dict[int, int] = {}
    for label in labels:
        if label is None:
            return UNLABELLED
        counts[label] = counts.get(label, 0) + 1
    if len(counts) > 1 and not majority:
        return CHANGED
    return _class(max(counts, key=lambda label: counts[label]))


def _class(number: int) -> Targets:
    return np.array(number, np.int32)
