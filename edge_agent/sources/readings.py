"""Payloads of sensors, read as numbers: JSON, plain numbers, on and off.

What is no number (``unavailable``, null, NaN, a list) is a gap, None. This module is
pure and total: whatever the bytes are, reading gives values or ``DecodeError``.
"""

import json
import math
from typing import Final

from edge_agent.sources.json_path import JsonPath
from wire_protocol.errors import DecodeError, Reason

MAX_PAYLOAD_BYTES: Final = 64 * 1024
_LARGEST: Final = 3.4e38
_LONGEST: Final = 64
_WORDS: Final = {
    **dict.fromkeys(("on", "true", "open", "home", "detected"), 1.0),
    **dict.fromkeys(("off", "false", "closed", "not_home", "clear"), 0.0),
}


def json_of(payload: bytes) -> object:
    """Return the JSON value of a payload; text that is no JSON is that text.

    Raises:
        DecodeError: It is too large, or is neither JSON nor short text.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise DecodeError(
            f"{len(payload)} bytes are no sensor's message; "
            f"{MAX_PAYLOAD_BYTES} are allowed",
            reason=Reason.TOO_LARGE,
        )
    try:
        text = payload.decode()
        value: object = json.loads(text)
    except UnicodeDecodeError:
        raise DecodeError("a sensor's message is neither JSON nor text") from None
    except (ValueError, RecursionError):
        if len(text) > _LONGEST:
            raise DecodeError("a sensor's message is not JSON") from None
        return text.strip()
    return value


def number_of(value: object) -> float | None:
    """Return ``value`` as a number, or None: it is a gap.

    >>> [number_of(value) for value in (21, "21.5", True, "on", "unavailable", None)]
    [21.0, 21.5, 1.0, 1.0, None, None]
    """
    if isinstance(value, str):
        text = value[: _LONGEST + 1].strip().lower()
        if text in _WORDS:
            return _WORDS[text]
        if len(text) > _LONGEST or "_" in text:
            return None
        value = text
    elif not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= _LARGEST else None


def text_of(value: object) -> str | None:
    """Return ``value`` as the name of a label; None: there is none now."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int) and abs(value) < 1 << 32:
        return str(value)
    if isinstance(value, str) and len(value) <= _LONGEST:
        text = value.strip()
        return None if text.lower() in ("", "unavailable", "unknown") else text
    return None


def rows_of(
    value: object, paths: tuple[JsonPath, ...]
) -> list[tuple[float | None, ...]]:
    """Return the rows in a message: one, or with ``[*]`` one for each element.

    A value that is not there is None; lists of unequal length have no rows.
    """
    found = [path.find(value) for path in paths]
    lengths = {len(one) for one, path in zip(found, paths, strict=True) if path.many}
    if len(lengths) > 1:
        return []
    count = lengths.pop() if lengths else 1
    columns = [
        _column(one, count, many=path.many)
        for one, path in zip(found, paths, strict=True)
    ]
    return list(zip(*columns, strict=True))


def _column(found: list[object], count: int, *, many: bool) -> list[float | None]:
    if many:
        return [number_of(value) for value in found]
    return [number_of(found[0]) if found else None] * count
