"""Rules that label a window: ``hot: temperature > 30 and humidity < 0.4``.

    rule        label ":" condition
    condition   and-terms with "or" between them; "and" binds closer; "not" closest
    comparison  operand ("<" | "<=" | ">" | ">=" | "==" | "!=") operand
    operand     number | channel | function "(" channel ")"
    function    mean | min | max | first | last; a channel alone is its mean

Parsed here and never evaluated as code; whatever the text is, parsing gives a rule or
``ConfigError``. This module is pure.

>>> rule = parse_rule("hot: not (t <= 30 or max(h) >= 0.4)", channels=("t", "h"))
>>> rule.label, holds(rule.condition, np.array([[31.0, 0.1], [33.0, 0.3]]))
('hot', True)
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wire_protocol.errors import ConfigError

MAX_TEXT: Final = 500
MAX_DEPTH: Final = 16
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>-?\d{1,15}(?:\.\d{0,15})?(?:[eE][+-]?\d{1,2})?)"
    r"|(?P<name>[^\W\d]\w*)|(?P<sign><=|>=|==|!=|<|>|\(|\)))"
)
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_FUNCTIONS: Final[dict[str, Callable[[NDArray[Any]], Any]]] = {
    "mean": lambda column: column.mean(dtype=np.float64),
    "min": lambda column: column.min(),
    "max": lambda column: column.max(),
    "first": lambda column: column[0],
    "last": lambda column: column[-1],
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A function of a channel's values in the window."""

    function: str
    channel: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two operands compared."""

    left: "Measure | float"
    sign: str
    right: "Measure | float"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    inner: "Condition"


@dataclass(frozen=True, slots=True)
class Every:
    """All of them hold."""

    terms: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Some:
    """One of them holds."""

    terms: "tuple[Condition, ...]"


Condition: TypeAlias = Comparison | Not | Every | Some


@dataclass(frozen=True, slots=True)
class Rule:
    """Windows for which ``condition`` holds are ``label``."""

    label: str
    condition: Condition


def parse_rule(text: str, *, channels: Sequence[str]) -> Rule:
    """Parse one rule about ``channels``, or raise ``ConfigError``."""
    label, colon, rest = text.partition(":")
    if not colon or not label.strip() or len(text) > MAX_TEXT:
        raise _wrong(text, 'it is a label, ":" and a condition')
    parser = _Parser(text, _tokens(text, rest), channels)
    condition = parser.some(0)
    if parser.tokens:
        raise _wrong(text, f"{parser.tokens[0]!r:.20} is one too many")
    return Rule(label.strip(), condition)


def holds(condition: Condition, rows: NDArray[Any]) -> bool:
    """Tell whether ``condition`` holds for a window's rows ``[L, C]``."""
    match condition:
        case Comparison(left, sign, right):
            return _COMPARE[sign](_value(left, rows), _value(right, rows))
        case Not(inner):
            return not holds(inner, rows)
        case Every(terms):
            return all(holds(term, rows) for term in terms)
        case Some(terms):
            return any(holds(term, rows) for term in terms)


def _value(operand: Measure | float, rows: NDArray[Any]) -> float:
    if isinstance(operand, float):
        return operand
    return float(_FUNCTIONS[operand.function](rows[:, operand.channel]))


def _tokens(text: str, rest: str) -> list[str]:
    tokens = []
    at, rest = 0, rest.rstrip()
    while at < len(rest):
        match = _TOKEN.match(rest, at)
        if match is None:
            raise _wrong(text, f"nothing is known that begins with {rest[at:][:12]!r}")
        tokens.append(match.group().strip())
        at = match.end()
    return tokens


class _Parser:
    """Recursive descent, of bounded depth, over a list of tokens."""

    def __init__(self, text: str, tokens: list[str], channels: Sequence[str]) -> None:
        self._text = text
        self._channels = list(channels)
        self.tokens = tokens

    def some(self, depth: int) -> Condition:
        terms = [self._every(depth)]
        while self._took("or"):
            terms.append(self._every(depth))
        return terms[0] if len(terms) == 1 else Some(tuple(terms))

    def _every(self, depth: int) -> Condition:
        terms = [self._term(depth)]
        while self._took("and"):
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else Every(tuple(terms))

    def _term(self, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise _wrong(self._text, f"it is nested more than {MAX_DEPTH} deep")
        if self._took("not"):
            return Not(self._term(depth + 1))
        if self._took("("):
            inner = self.some(depth + 1)
            self._expect(")")
            return inner
        left = self._operand()
        sign = self._next("a comparison")
        if sign not in _COMPARE:
            raise _wrong(self._text, f"{sign!r:.20} is no comparison")
        return Comparison(left, sign, self._operand())

    def _operand(self) -> Measure | float:
        token = self._next("a number or a channel")
        if token[0].isascii() and (token[0].isdecimal() or token[0] == "-"):
            return float(token)
        if token in _FUNCTIONS and self._took("("):
            channel = self._channel(self._next("a channel"))
            self._expect(")")
            return Measure(token, channel)
        return Measure("mean", self._channel(token))

    def _channel(self, name: str) -> int:
        if name not in self._channels:
            raise _wrong(
                self._text,
                f"{name!r:.30} is no channel; there are {', '.join(self._channels)}",
            )
        return self._channels.index(name)

    def _took(self, token: str) -> bool:
        if self.tokens[:1] != [token]:
            return False
        del self.tokens[0]
        return True

    def _expect(self, token: str) -> None:
        if not self._took(token):
            raise _wrong(self._text, f"{token!r} is missing")

    def _next(self, what: str) -> str:
        if not self.tokens:
            raise _wrong(self._text, f"it ends where {what} is expected")
        return self.tokens.pop(0)


def _wrong(text: str, problem: str) -> ConfigError:
    return ConfigError(
        f"rule {text!r:.80} is not understood: {problem}",
        remedy='write for instance "hot: temperature > 30 and humidity < 0.4"',
    )
