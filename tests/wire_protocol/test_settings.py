"""Settings: what TOML may say, and how one is told what it may not."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_protocol.errors import ConfigError, RefusedError
from wire_protocol.settings import check_secure, load_settings, read_settings


@dataclass(frozen=True, slots=True)
class Inner:
    """A section with every kind of field."""

    name: str
    count: int = 1
    ratio: float = 0.5
    on: bool = False
    kind: Literal["one", "two"] = "one"
    file: Path | None = None
    words: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ConfigError("count is 0 or more", remedy="use 0")


@dataclass(frozen=True, slots=True)
class Optional:
    """A section that may be left out."""

    port: int = 1883


@dataclass(frozen=True, slots=True)
class Outer:
    """A whole file."""

    inner: Inner
    optional: Optional = field(default_factory=Optional)


def test_every_kind_of_field_is_read() -> None:
    inner = {
        "name": "a",
        "count": 2,
        "ratio": 1,
        "on": True,
        "kind": "two",
        "file": "x/y",
        "words": ["b", "c"],
        "names": {"b": "c"},
        "numbers": {"d": 4},
    }
    outer = read_settings(Outer, {"inner": inner}, source="f", folder=Path("/etc"))
    assert outer.inner == Inner(
        "a",
        2,
        1.0,
        on=True,
        kind="two",
        file=Path("/etc/x/y"),
        words=("b", "c"),
        names={"b": "c"},
        numbers={"d": 4},
    )
    assert outer.optional.port == 1883


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a missing section": ({}, "[inner] has no name"),
    "a missing key": ({"inner": {}}, "[inner] has no name - add name = a text"),
    "a value for a section": ({"inner": 3}, "[inner] is a section, not 3"),
    "an unknown section": ({"iner": {}}, "has no key 'iner' - did you mean 'inner'?"),
    "an unknown key": (
        {"inner": {"name": "a", "cuont": 1}},
        "[inner] has no key 'cuont' - did you mean 'count'?",
    ),
    "a far key": (
        {"optional": {"zzz": 1}, "inner": {"name": "a"}},
        "[optional] has no key 'zzz' - known keys: port",
    ),
    "a number for a text": ({"inner": {"name": 1}}, "name is a text, not 1"),
    "a list for a table": (
        {"inner": {"name": "a", "names": ["b"]}},
        "names is a table, each key with a text, not ['b']",
    ),
    "a truth in a table of numbers": (
        {"inner": {"name": "a", "numbers": {"b": True}}},
        "numbers is a table, each key with a whole number",
    ),
    "a truth for a number": (
        {"inner": {"name": "a", "count": True}},
        "count is a whole number, not True",
    ),
    "a fraction for a whole": (
        {"inner": {"name": "a", "count": 1.5}},
        "count is a whole number, not 1.5",
    ),
    "not a number": (
        {"inner": {"name": "a", "ratio": float("nan")}},
        "ratio is a number, not nan",
    ),
    "an unknown choice": (
        {"inner": {"name": "a", "kind": "six"}},
        "kind is one of 'one', 'two', not 'six'",
    ),
    "a list of numbers": (
        {"inner": {"name": "a", "words": [1]}},
        "words is a list of texts, not [1]",
    ),
    "an empty path": (
        {"inner": {"name": "a", "file": ""}},
        "file is the path of a file or folder, not ''",
    ),
    "a whole number beyond TOML's": (
        {"inner": {"name": "a", "count": 10**400}},
        "count is a whole number, not 1000",
    ),
    "a number beyond all others": (
        {"inner": {"name": "a", "ratio": 1 << 20_000}},
        "ratio is a number, not a number beyond all bounds",
    ),
    "a list with a number beyond all others": (
        {"inner": {"name": "a", "words": [1 << 20_000]}},
        "words is a list of texts, not a number beyond all bounds",
    ),
    "a table with a number beyond TOML's": (
        {"inner": {"name": "a", "numbers": {"b": 1 << 63}}},
        "numbers is a table, each key with a whole number",
    ),
    "what the section itself refuses": (
        {"inner": {"name": "a", "count": -1}},
        "[inner] count is 0 or more - use 0",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_named_by_file_section_and_key(name: str) -> None:
    mapping, message = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        read_settings(Outer, mapping, source="agent.toml")
    assert str(caught.value).startswith("agent.toml")
    assert message in str(caught.value)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "count", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["inner", "optional", "x"]), _VALUES, max_size=3)
)
def test_whatever_is_written_is_read_or_a_config_error(
    mapping: dict[str, Any],
) -> None:
    with contextlib.suppress(ConfigError):
        read_settings(Outer, mapping, source="f")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"[inner\n", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"x = " + b"1" * 5000, "is not TOML"),
        (b"#" * (1 << 21), "expected a short TOML file"),
    ],
    ids=["missing", "unclosed", "binary", "huge number", "huge"],
)
def test_an_unreadable_file_is_a_config_error(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "agent.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_settings(Outer, path)


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('[inner]\nname = "a"\nfile = "data/e.npz"\n')
    assert load_settings(Outer, path).inner.file == tmp_path / "data" / "e.npz"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_may_be_met_in_clear(host: str) -> None:
    check_secure(host, identified=False, tls=False, remedy="")


@pytest.mark.parametrize(
    "host", ["192.168.1.10", "0.0.0.0", "::", "broker.example", "localhost.evil", ""]
)
@pytest.mark.parametrize(
    ("identified", "tls"), [(False, False), (True, False), (False, True)]
)
def test_another_machine_needs_tls_and_identities(
    host: str, identified: bool, tls: bool
) -> None:
    with pytest.raises(RefusedError, match="is not this machine"):
        check_secure(host, identified=identified, tls=tls, remedy="do")
    check_secure(host, identified=True, tls=True, remedy="")
