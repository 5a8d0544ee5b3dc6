"""JSONPath: what it finds, and that nothing else happens whatever it is given."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources.json_path import MAX_FOUND, parse_path
from wire_protocol.errors import ConfigError

VALUE = {
    "a": {"b c": [10, 20, 30], "d-e": "x", "ü": True},
    "list": [{"z": 1}, {"z": 2}, {"y": 3}],
    "it's": {'"q"': 5},
    "deep": [[1, 2], [3]],
}
FOUND: dict[str, list[object]] = {
    "$": [VALUE],
    "$.a['b c'][0]": [10],
    '$["a"]["b c"][-1]': [30],
    "$.a.d-e": ["x"],
    "$.a.ü": [True],
    '$[\'it\\\'s\']["\\"q\\""]': [5],
    "$.list[*].z": [1, 2],
    "$.deep[1][*]": [3],
    "$.a['b c'][3]": [],
    "$.a['b c'][-4]": [],
    "$.a[0]": [],
    "$.list.z": [],
    "$.a[*]": [],
    "$.nothing.more": [],
}


@pytest.mark.parametrize("path", FOUND)
def test_a_path_finds(path: str) -> None:
    assert parse_path(path).find(VALUE) == FOUND[path]


WRONG = [
    "", "a", "a.b", "$.", "$..a", "$[", "$[]", "$['a]", "$[1:2]", "$.a b", "$[?(@.x)]",
    "$.list[*][*]", "$" + ".a" * 17, "$" + "x" * 300, "$[99999999]", "$['\\x']", "$.1a",
]  # fmt: skip


@pytest.mark.parametrize("path", WRONG)
def test_another_path_is_refused_in_one_line(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_path(path)
    assert "[*]" in caught.value.remedy
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=2), inner)
    ),
    max_leaves=20,
)
STEPS = st.sampled_from([".a", ".ab", "[0]", "[-1]", "[*]", "['b']", '["a"]', "[1]"])


@given(
    text=st.text(max_size=30)
    | st.text("$.a[]*'\"\\0", max_size=20).map("$".__add__)
    | st.lists(STEPS, max_size=5).map(lambda steps: "$" + "".join(steps)),
    value=JSON,
)
def test_whatever_is_given_a_list_or_an_error_comes(text: str, value: object) -> None:
    with contextlib.suppress(ConfigError):
        path = parse_path(text)
        found = path.find(value)
        assert len(found) <= (MAX_FOUND if path.many else 1)


def test_a_huge_list_is_cut() -> None:
    assert len(parse_path("$[*]").find(list(range(100_000)))) == MAX_FOUND
