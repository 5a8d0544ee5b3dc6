"""JSONPath, as much of it as sensors need (RFC 9535's names, indices and ``[*]``).

>>> parse_path("$.accel[0]['x y']").steps
('accel', 0, 'x y')
>>> parse_path("$.samples[*].z").find({"samples": [{"z": 1}, {"z": 2}]})
[1, 2]

This module is pure. Parsing and finding are total: a bad path is a ``ConfigError``,
and whatever the value is, finding gives a list.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from wire_protocol.errors import ConfigError

MAX_PATH: Final = 256
MAX_STEPS: Final = 16
MAX_FOUND: Final = 4096

Step: TypeAlias = "str | int | Literal[True]"
"""A member's name, an element's index, or True: every element."""

_STEP: Final = re.compile(
    r"""\.(?P<name>[^\W\d][\w-]*)
    | \[(?P<index>-?\d{1,6})\]
    | \[(?P<all>\*)\]
    | \['(?P<single>(?:[^'\\]|\\['"\\])*)'\]
    | \["(?P<double>(?:[^"\\]|\\['"\\])*)"\]
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class JsonPath:
    """Leads from a JSON value to some in it."""

    steps: tuple[Step, ...]

    @property
    def many(self) -> bool:
        """Whether it may lead to more than one value."""
        return any(step is True for step in self.steps)

    def find(self, value: object) -> list[object]:
        """Return what it leads to, at most ``MAX_FOUND``; nothing is an empty list."""
        found = [value]
        for step in self.steps:
            found = [inner for outer in found for inner in _inside(outer, step)]
            del found[MAX_FOUND:]
        return found


def parse_path(text: str) -> JsonPath:
    """Parse ``text``, or raise ``ConfigError``."""
    if not text.startswith("$") or len(text) > MAX_PATH:
        raise _wrong(text, "it begins with $")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise _wrong(text, f"nothing is known that begins with {text[at:][:12]!r}")
        at = match.end()
        steps.append(_step(match))
    if len(steps) > MAX_STEPS or sum(step is True for step in steps) > 1:
        raise _wrong(text, f"it has up to {MAX_STEPS} steps, and [*] once at most")
    return JsonPath(tuple(steps))


def _step(match: re.Match[str]) -> Step:
    given = match.groupdict()
    if given["name"] is not None:
        return given["name"]
    if given["index"] is not None:
        return int(given["index"])
    if given["all"] is not None:
        return True
    quoted = given["single"] if given["single"] is not None else given["double"]
    return re.sub(r"\\(.)", r"\1", quoted)


def _inside(value: object, step: Step) -> list[object]:
    if isinstance(step, str):
        return [value[step]] if isinstance(value, dict) and step in value else []
    if not isinstance(value, list):
        return []
    if step is True:
        return value[:MAX_FOUND]
    return [value[step]] if -len(value) <= step < len(value) else []


def _wrong(text: str, problem: str) -> ConfigError:
    return ConfigError(
        f"JSONPath {text!r:.80} is not understood: {problem}",
        remedy="write $ and then .name, ['name'], [0] or [*]",
    )
