"""What holds for every file, whatever is in it."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("wire_protocol", "edge_agent", "broker_server", "model_zoo", "tools")
SOURCES = sorted(
    path
    for folder in (*PACKAGES, "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
FORBIDDEN_NAMES = {
    *("utils", "common", "helpers", "misc", "base", "manager", "core", "types"),
}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_are_sources() -> None:
    assert len(SOURCES) > 40


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_module_is_short_named_by_a_noun_and_documented(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert path.stem not in FORBIDDEN_NAMES
    if path.parent.name != "tests" and text.strip():
        assert ast.get_docstring(ast.parse(text)), "say what this module is"


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.name == "__init__.py"], ids=_name
)
def test_an_init_holds_a_docstring_only(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for node in tree.body
    )


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] in PACKAGES and ">>>" in path.read_text()
    ],
    ids=_name,
)
def test_usage_in_docstrings_runs(path: Path) -> None:
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    results = doctest.testmod(importlib.import_module(dotted))
    assert results.attempted > 0
    assert results.failed == 0
