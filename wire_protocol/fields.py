"""Reading typed fields from a JSON header: each is what it must be, or ``DecodeError``.

A field that is not read is ignored, so that a later version may add some.
This module is pure.
"""

import json
import math
from collections.abc import Mapping
from typing import TypeVar, cast

from wire_protocol.errors import DecodeError, Reason

MAX_TEXT = 256
_Item = TypeVar("_Item", str, dict[str, object])


def json_object(raw: bytes, *, what: str) -> dict[str, object]:
    """Parse ``raw``, which ``what`` names in errors, or raise ``DecodeError``."""
    try:
        plain = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"{what} is JSON: {error!r:.100}") from error
    if not isinstance(plain, dict):
        raise DecodeError(f"{what} is a JSON object")
    return plain


class Fields:
    """A header's fields, read by name and type."""

    __slots__ = ("_fields", "_owner")

    def __init__(self, fields: Mapping[str, object], *, owner: str) -> None:
        self._fields = fields
        self._owner = owner

    def has(self, name: str) -> bool:
        """Tell whether there is a field ``name``, for formats of others."""
        return name in self._fields

    def text(self, name: str, *, longest: int = MAX_TEXT) -> str:
        """Read a string of at most ``longest`` characters."""
        value = self._value(name)
        if not isinstance(value, str) or len(value) > longest:
            raise self._unexpected(name, f"a text of up to {longest} characters")
        return value

    def digest(self, name: str, *, digits: int = 64) -> str:
        """Read ``digits`` lower-case hex digits."""
        value = self.text(name)
        if len(value) != digits or not set(value) <= set("0123456789abcdef"):
            raise self._unexpected(name, f"{digits} hex digits")
        return value

    def whole(self, name: str, *, least: int = 0, most: int = 2**53) -> int:
        """Read an integer between ``least`` and ``most``, both included."""
        value = self._value(name)
        # bool is an int to Python, never on the wire
        if type(value) is not int or not least <= value <= most:
            raise self._unexpected(name, f"a whole number in [{least}, {most}]")
        return value

    def real(self, name: str, *, least: float = -1e30, most: float = 1e30) -> float:
        """Read a finite number between ``least`` and ``most``."""
        number = _number(self._value(name))
        if number is None or not least <= number <= most:
            raise self._unexpected(name, f"a number in [{least}, {most}]")
        return number

    def reals(self, name: str, *, most: int, limit: float = 1e30) -> tuple[float, ...]:
        """Read a list of at most ``most`` numbers of size ``limit`` or less."""
        value = self._value(name)
        if not isinstance(value, list) or len(value) > most:
            raise self._unexpected(name, f"a list of up to {most}")
        numbers = []
        for item in value:
            number = _number(item)
            if number is None or abs(number) > limit:
                raise self._unexpected(name, f"a list of numbers up to {limit:g}")
            numbers.append(number)
        return tuple(numbers)

    def wholes(self, name: str, *, most: int, greatest: int) -> tuple[int, ...]:
        """Read a list of at most ``most`` integers from 0 to ``greatest``."""
        numbers = self.reals(name, most=most, limit=greatest)
        if any(number < 0 or number != int(number) for number in numbers):
            raise self._unexpected(name, f"a list of whole numbers up to {greatest}")
        return tuple(int(number) for number in numbers)

    def flag(self, name: str) -> bool:
        """Read true or false."""
        value = self._value(name)
        if type(value) is not bool:
            raise self._unexpected(name, "true or false")
        return value

    def reason(self) -> Reason:
        """Read ``reason``, one of the enum's."""
        text = self.text("reason", longest=32)
        try:
            return Reason(text)
        except ValueError as error:
            raise self._unexpected("reason", "a known reason") from error

    def texts(self, name: str, *, most: int) -> tuple[str, ...]:
        """Read a list of at most ``most`` strings."""
        return tuple(self._items(name, str, most=most))

    def group(self, name: str) -> "Fields":
        """Read a nested object."""
        value = self._value(name)
        if not isinstance(value, dict):
            raise self._unexpected(name, "an object")
        return Fields(value, owner=f"{self._owner}.{name}")

    def groups(self, name: str, *, most: int) -> tuple["Fields", ...]:
        """Read a list of at most ``most`` nested objects."""
        items = self._items(name, dict, most=most)
        return tuple(Fields(item, owner=f"{self._owner}.{name}") for item in items)

    def _items(self, name: str, kind: type[_Item], *, most: int) -> list[_Item]:
        value = self._value(name)
        if not isinstance(value, list) or len(value) > most:
            raise self._unexpected(name, f"a list of up to {most}")
        for item in value:
            if not isinstance(item, kind):
                raise self._unexpected(name, f"a list of {kind.__name__}")
            if isinstance(item, str) and len(item) > MAX_TEXT:
                raise self._unexpected(name, f"texts of up to {MAX_TEXT} characters")
        return cast("list[_Item]", value)

    def _value(self, name: str) -> object:
        if name not in self._fields:
            raise DecodeError(f"{self._owner}: {name} is missing")
        return self._fields[name]

    def _unexpected(self, name: str, expected: str) -> DecodeError:
        came = self._fields[name]
        return DecodeError(f"{self._owner}: {name} is {expected}, not {came!r:.60}")


def _number(value: object) -> float | None:
    """Return ``value`` as a finite float; None if it is none."""
    # bool is an int to Python, never on the wire
    if type(value) not in (int, float):
        return None
    try:
        number = float(cast("float", value))
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
