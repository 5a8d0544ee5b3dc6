"""Rules: what holds, what is refused, and that text is never more than a rule."""

import contextlib
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources import labels, rules
from edge_agent.sources.rules import MAX_DEPTH, holds, parse_rule
from wire_protocol.errors import ConfigError

CHANNELS = ("t", "humidity", "m_2")
ROWS = np.array([[10.0, 0.2, 0.0], [30.0, 0.4, 5.0]])
HOLD: dict[str, bool] = {
    "t == 20": True,
    "t > 20": False,
    "20 <= t": True,
    "mean(t) >= 20 and humidity < 0.4": True,
    "min(t) < 15": True,
    "max(t) != 30": False,
    "first(m_2) == 0 and last(m_2) == 5": True,
    "t > 20 or not humidity > 0.35": True,
    "not (t > 20 or humidity > 0.1)": False,
    "t > 99 or t > 1 and t > 99": False,
    "(t > 99 or t > 1) and t < 99": True,
    "t > -1e1": True,
    "t>5and t<99": True,
    "humidity < m_2": True,
}


@pytest.mark.parametrize("text", HOLD)
def test_a_condition_holds_or_not(text: str) -> None:
    rule = parse_rule(f"hot: {text}", channels=CHANNELS)
    assert rule.label == "hot"
    assert holds(rule.condition, ROWS) == HOLD[text]


WRONG = [
    "", "t > 3", ": t > 3", "a: ", "a: t", "a: t >", "a: t > 3 t", "a: x > 3",
    "a: t > 3 and", "a: (t > 3", "a: t > 3)", "a: median(t) > 3", "a: mean(3) > 3",
    "a: mean t > 3", "a: __import__('os')", "a: t > 3; t < 4", "a: t = 3",
    "a: t > 3.4.5",
    "a: " + "(" * 30 + "t > 3" + ")" * 30, "a: " + "not " * 99 + "t > 3",
    "a: t > 3 " + "and t > 3 " * 60, "a: 1 < 2 < 3", "a: t ** 2 > 3", "a: and > 3",
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_another_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rule(text, channels=CHANNELS)
    assert "hot: temperature > 30" in caught.value.remedy
    assert "\n" not in str(caught.value)


WORDS = st.sampled_from(
    ["t", "humidity", "mean", "max", "(", ")", "and", "or", "not", "<", ">=", "3",
     "-1.5", "==", "x", ":", "label:"]
)  # fmt: skip


@given(text=st.text(max_size=60) | st.lists(WORDS, max_size=30).map(" ".join))
def test_whatever_the_text_is_a_rule_or_an_error_comes(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert holds(parse_rule(text, channels=CHANNELS).condition, ROWS) in (
            True,
            False,
        )


SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@st.composite
def conditions(draw: st.DrawFn, depth: int = 0) -> tuple[str, bool]:
    """Draw a condition with its truth, computed beside the parser."""
    kind = draw(st.integers(0, 3)) if depth < MAX_DEPTH // 4 else 0
    if kind == 0:
        a, b = draw(st.integers(-9, 9)), draw(st.integers(-9, 9))
        sign = draw(st.sampled_from(sorted(SIGNS)))
        return f"{a} {sign} {b}", SIGNS[sign](a, b)
    left, is_left = draw(conditions(depth + 1))
    if kind == 1:
        return f"not ({left})", not is_left
    right, is_right = draw(conditions(depth + 1))
    if kind == 2:
        return f"({left}) and ({right})", is_left and is_right
    return f"({left}) or ({right})", is_left or is_right


@given(pair=conditions())
def test_conditions_mean_what_they_mean_in_logic(pair: tuple[str, bool]) -> None:
    text, truth = pair
    with contextlib.suppress(ConfigError):  # longer than a rule may be
        assert holds(parse_rule(f"a: {text}", channels=()).condition, ROWS) == truth


def test_the_words_of_rules_are_no_channels() -> None:
    assert {"and", "or", "not", *rules._FUNCTIONS} == labels.RESERVED
