"""Text mutations: JSON and TOML that are well formed and mean something absurd.

Byte mutations of text mostly end at the first check, "is this JSON"; these get past it.
This module is pure.

>>> mutated_json(b'{"round": 3}', rng=Random(4)) != b'{"round": 3}'
True
"""

import copy
import json
from random import Random
from typing import Any, Final

_DEEP: Final = 200
_VALUES: Final[tuple[object, ...]] = (
    *(None, True, False, 0, 1, -1, 2, 255, 2**31 - 1, 2**31, 2**53, 2**53 + 1, 2**64),
    *(10**400, -(10**400), 0.0, -0.0, 0.5, 1e-320, 1e30, 1e308, 3.5e38),
    *(float("nan"), float("inf"), float("-inf")),
    *("", " ", "0", "a", "NaN", "é", "\ud800", "\x00", "..", "/", "+", "#", "x" * 300),
    *("ab" * 32, "AB" * 32, "0" * 16, "f" * 5000, "uq:0.1", "uq:99", "1e5"),
    *([], [0], [[]], [None], [""], {}, {"": 0}, {"size": 1}, [0] * 1100, [{}] * 70),
)
_LITERALS: Final = (
    *("0", "-1", "1", "true", "''", '"x"', "[]", "{}", "[[1]]", "['a', 1]", "{a = 1}"),
    *("inf", "-inf", "nan", "1e999", "1e-999", "0.5", "9223372036854775807"),
    *(
        "1" + "0" * 400,
        "0x" + "f" * 6000,
        "1979-05-27",
        "07:32:00",
        "'" + "y" * 3000 + "'",
    ),
    *("[" * _DEEP + "]" * _DEEP, '"\\u0000"', '"127.0.0.1"', '"~"', '"../.."'),
)


def mutated_json(text: bytes, *, rng: Random) -> bytes:
    """Return JSON ``text`` with a value changed; as it is where it is no JSON."""
    try:
        root = {"": json.loads(text)}
    except (ValueError, RecursionError):
        return text
    places = _places(root)
    holder, key = rng.choice(places)
    try:
        _change(holder, key, places=places, rng=rng)
        return json.dumps(root.get("")).encode()
    except (RecursionError, OverflowError, ValueError):  # too deep, or too large
        return text


def _places(root: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Return every place in ``root``: a list or object, and an index or key of it."""
    places: list[tuple[Any, Any]] = []
    todo: list[Any] = [root]
    while todo:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            places.append((holder, key))
            if isinstance(holder[key], dict | list):
                todo.append(holder[key])
    return places


def _change(
    holder: Any,  # noqa: ANN401 - whatever JSON holds
    key: Any,  # noqa: ANN401
    *,
    places: list[tuple[Any, Any]],
    rng: Random,
) -> None:
    value = holder[key]
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1:
            other, name = rng.choice(places)
            holder[key] = copy.deepcopy(other[name])
        case 2 if isinstance(value, int | float):
            holder[key] = value + rng.choice((-1, 1, 0.5, 1e9))
        case 3 if isinstance(value, str):
            at = rng.randint(0, len(value))
            holder[key] = (
                value[:at] + rng.choice(("", "x", "\u00df", "0")) + value[at + 1 :]
            )
        case 4 if isinstance(value, list) and value:
            holder[key] = value * rng.choice((0, 2, 30))
        case 5 if isinstance(holder, dict):
            holder[rng.choice(("t", "extra", "size", ""))] = value
        case 6:
            holder[key] = _nested(value, rng)
        case _:
            holder[key] = rng.choice(_VALUES)


def _nested(value: object, rng: Random) -> object:
    for _ in range(rng.choice((1, 2, _DEEP))):
        value = [value] if rng.random() < 0.5 else {"": value}
    return value


def mutated_toml(text: bytes, *, rng: Random) -> bytes:
    """Return TOML ``text`` with a line changed."""
    lines = text.split(b"\n")
    at = rng.randrange(len(lines))
    key, equals, _ = lines[at].partition(b"=")
    literal = rng.choice(_LITERALS).encode()
    match rng.randrange(8):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, rng.choice(lines))
        case 2:
            lines.insert(at, rng.choice((b"[a]", b"[[a]]", b"a.b.c = 1", b"[server]")))
        case 3 if equals:
            lines[at] = (
                rng.choice((b"no", b"", b"a.b", b'"\xc3\x9f"')) + b" = " + literal
            )
        case _ if equals:
            lines[at] = key + b"= " + literal
        case _:
            lines.insert(at, b"added = " + literal)
    return b"\n".join(lines)
