"""Settings: TOML read once into frozen dataclasses, and refused where it is wrong.

A section is a field whose type is a dataclass. Fields are ``str``, ``int``, ``float``,
``bool``, ``Path``, ``Literal``, ``tuple[str, ...]``, ``dict[str, str]``, ``dict[str,
int]``, or any of these ``| None``; one without a default must be given. Every error
names the file, the section and the key.

>>> from dataclasses import field
>>> @dataclass(frozen=True)
... class Broker:
...     host: str = "127.0.0.1"
...     port: int = 1883
>>> @dataclass(frozen=True)
... class Example:
...     broker: Broker = field(default_factory=Broker)
>>> read_settings(Example, {"broker": {"port": 1884}}, source="x.toml").broker
Broker(host='127.0.0.1', port=1884)
"""

import ipaddress
import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from wire_protocol.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_FILE_BYTES = 1 << 20
_MOST_WHOLE = 1 << 63  # TOML has no larger ones, but tomllib reads them
T = TypeVar("T", bound="DataclassInstance")


def load_settings(cls: type[T], path: Path, *, remedy: str = "") -> T:
    """Read the TOML file ``path`` into ``cls``; relative paths start at its folder.

    Raises:
        ConfigError: The file is missing (``remedy`` says what to do), unreadable, no
            TOML, or does not fit ``cls``.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            remedy=remedy or "name another file with --config",
        ) from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} has {len(raw)} bytes, expected a short TOML file")
    try:
        mapping = tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not TOML: {error}", remedy="correct that line"
        ) from error
    return read_settings(cls, mapping, source=str(path), folder=path.absolute().parent)


def read_settings(
    cls: type[T], mapping: Mapping[str, Any], *, source: str, folder: Path | None = None
) -> T:
    """Read ``mapping`` into ``cls``; ``source`` is what errors call it.

    Relative paths start at ``folder``, when given.

    Raises:
        ConfigError: A key is unknown, missing, of the wrong type, or refused by the
            dataclass's own checks.
    """
    return _Reader(source, folder).section(cls, mapping, name="")


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is this machine, by its address or as localhost."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_secure(host: str, *, identified: bool, tls: bool, remedy: str) -> None:
    """Check that what goes to the broker on ``host`` may go there.

    Raises:
        RefusedError: It is another machine, and there is no TLS, or nobody could tell
            who is who. Everything could be read, changed and invented on the way.
    """
    if is_loopback(host) or (identified and tls):
        return
    lacking = "nobody proves who they are" if tls else "plain MQTT can be read by all"
    raise RefusedError(
        f"broker host {host!r:.80} is not this machine, and {lacking}",
        remedy=remedy if not identified else "leave [broker] tls out, or set it true",
    )


def check_login(username: str | None, password_file: Path | None) -> None:
    """Raise ``ConfigError`` unless a name comes with a password, or neither does."""
    if (username is None) != (password_file is None):
        raise ConfigError(
            "username and password_file belong together",
            remedy="set both, or neither where certificates are used",
        )


@dataclass(frozen=True, slots=True)
class _Reader:
    source: str
    folder: Path | None

    def section(self, cls: type[T], mapping: object, *, name: str) -> T:
        where = f"{self.source}: [{name}]" if name else self.source
        if not isinstance(mapping, Mapping):
            raise ConfigError(
                f"{where} is a section, not {_shown(mapping)}",
                remedy=f"write it as [{name}] with one key a line",
            )
        known = {item.name: item for item in fields(cls) if item.init}
        for key in mapping:
            if key not in known:
                raise self._unknown(str(key), known=list(known), where=where)
        hints = get_type_hints(cls)
        values: dict[str, object] = {}
        for key, item in known.items():
            hint = hints[key]
            inner = f"{name}.{key}" if name else key
            if isinstance(hint, type) and is_dataclass(hint):
                if key in mapping or not _has_default(item):
                    values[key] = self.section(hint, mapping.get(key, {}), name=inner)
            elif key in mapping:
                values[key] = self._value(
                    mapping[key], hint=hint, where=f"{where} {key}"
                )
            elif not _has_default(item):
                raise ConfigError(
                    f"{where} has no {key}", remedy=f"add {key} = {_expected(hint)}"
                )
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"{where} {error.problem}", remedy=error.remedy) from None

    def _unknown(self, key: str, *, known: list[str], where: str) -> ConfigError:
        import difflib  # noqa: PLC0415 - only a wrong key needs it, an idle agent pays

        near = difflib.get_close_matches(key, known, n=1)
        return ConfigError(
            f"{where} has no key {key!r:.60}",
            remedy=f"did you mean {near[0]!r}?"
            if near
            else f"known keys: {', '.join(known)}",
        )

    def _value(self, value: object, *, hint: Any, where: str) -> object:  # noqa: ANN401 - a type hint has no type
        if get_origin(hint) in (Union, UnionType):
            (hint,) = (arm for arm in get_args(hint) if arm is not NoneType)
        fitted = _fitted(value, hint)
        if fitted is None:
            raise ConfigError(
                f"{where} is {_expected(hint)}, not {_shown(value)}",
                remedy="correct its value",
            )
        if isinstance(fitted, Path):
            expanded = fitted.expanduser()
            return self.folder / expanded if self.folder else expanded
        return fitted


def _fitted(value: object, hint: Any) -> object | None:  # noqa: ANN401 - a type hint has no type
    """Return ``value`` as ``hint`` has it, or None where it does not fit."""
    kind = type(value)  # exact: bool is an int to Python, not to the user
    if isinstance(value, int) and not -_MOST_WHOLE <= value < _MOST_WHOLE:
        return None
    if get_origin(hint) is Literal:
        return value if value in get_args(hint) else None
    if hint is float and kind in (int, float):
        number = float(str(value))
        return number if math.isfinite(number) else None
    if hint is Path and kind is str and value:
        return Path(str(value))
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(value) if all(type(item) is str for item in value) else None
    if get_origin(hint) is dict and isinstance(value, Mapping):
        kind = get_args(hint)[1]
        fits = all(_fitted(item, kind) is not None for item in value.values())
        return dict(value) if fits else None
    return value if kind is hint else None


def _shown(value: object) -> str:
    """Return how ``value`` was written, or the beginning of that."""
    try:
        return f"{value!r:.60}"
    except ValueError:  # it has, or holds, more digits than Python writes
        return "a number beyond all bounds"


def _expected(hint: Any) -> str:  # noqa: ANN401 - a type hint has no type
    if get_origin(hint) in (Union, UnionType):
        hint = next(arm for arm in get_args(hint) if arm is not NoneType)
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return "a list of texts"
    if get_origin(hint) is dict:
        return f"a table, each key with {_expected(get_args(hint)[1])}"
    return {
        str: "a text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        Path: "the path of a file or folder",
    }[hint]


def _has_default(item: Field[Any]) -> bool:
    return item.default is not MISSING or item.default_factory is not MISSING
