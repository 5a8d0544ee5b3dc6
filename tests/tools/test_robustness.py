"""The attack bench: what attackers send, and what the tables say of it."""

import numpy as np
import pytest

from tools.robustness.arena import Cell, Outcome, run_cell
from tools.robustness.attacks import ATTACKS, WORDS, Attack, Sight, attacked, claimed
from tools.robustness.table import BEGIN, END, Table, lines, recorded
from tools.robustness.tasks import DEFENCES, TASKS, Defence, codec_of, guard_of
from wire_protocol.errors import ConfigError
from wire_protocol.params import Vector

SIZE = 300
RNG = np.random.default_rng(0)
HONEST = (0.2 + RNG.normal(size=(7, SIZE))).astype(np.float32)
OWN = RNG.normal(size=SIZE).astype(np.float32)
SIGHT = Sight(HONEST, last_step=np.ones(SIZE, np.float32))


def sent(attack: Attack, index: int = 0) -> Vector:
    rng = np.random.default_rng(1)
    return attacked(attack, OWN, SIGHT, index=index, rng=rng)


def norm(vector: Vector) -> float:
    return float(np.linalg.norm(vector))


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_sends_a_delta_and_has_words(attack: Attack) -> None:
    delta = sent(attack)
    assert delta.dtype == np.float32
    assert delta.shape == (SIZE,)
    assert WORDS[attack]
    again = attack in ("none", "label flip")
    assert np.array_equal(delta, OWN) == again


def test_attacks_are_what_their_names_say() -> None:
    mean = HONEST.mean(0)
    np.testing.assert_allclose(sent("sign flip"), -4 * OWN)
    np.testing.assert_allclose(sent("scaling"), 10 * OWN)
    np.testing.assert_allclose(sent("inner product"), -0.8 * mean, rtol=1e-5)
    np.testing.assert_allclose(sent("collusion"), mean - HONEST.std(0), rtol=1e-4)
    assert norm(sent("noise")) == pytest.approx(5 * SIGHT.usual, rel=1e-3)
    assert norm(sent("free riders")) < 1e-3 * SIGHT.usual
    np.testing.assert_allclose(sent("free riders", 1), 1.0, atol=0.01)
    assert claimed("false claims", 10) == 10**9
    assert claimed("sign flip", 10) == 10


def test_modes_that_need_dense_updates_get_them() -> None:
    for defence in DEFENCES:
        guard = guard_of(defence)
        if guard is not None:
            guard.check_codec(codec_of(defence))


def outcome(accuracy: float, *, wronged: int = 0) -> Outcome:
    return Outcome(accuracy, 20, 4, 3, wronged, 1.0, {"too_long": 3})


def table(best: float = 0.95, clean: float = 0.96, *, wronged: int = 0) -> Table:
    """Return a table of one attack, where rfa ends with ``best``."""
    given: dict[tuple[Attack, Defence], list[float]] = {
        ("none", "plain mean"): [0.96, 0.97, 0.9],
        ("none", "mean"): [0.95, 0.95, 0.95],
        ("none", "rfa"): [clean] * 3,
        ("noise", "plain mean"): [0.1, 0.1, 0.9],
        ("noise", "mean"): [0.9, 0.9, 0.9],
        ("noise", "rfa"): [best] * 3,
    }
    outcomes = {
        Cell("digits", attack, defence, seed): outcome(accuracy, wronged=wronged)
        for (attack, defence), accuracies in given.items()
        for seed, accuracy in enumerate(accuracies)
    }
    return Table.of("digits", outcomes)


def test_points_are_lost_against_the_plain_mean_without_attackers() -> None:
    found = table()
    assert found.lost("none", "plain mean") == 0.0
    assert found.lost("noise", "plain mean") == pytest.approx(86.0)
    assert found.lost("noise", "mean") == pytest.approx(6.0)
    assert found.best == "rfa"
    assert found.most_lost("rfa") == pytest.approx(1.0)
    assert found.lost("noise", "median") is None


@pytest.mark.parametrize(
    ("found", "met"),
    [
        (table(), True),
        (table(best=0.929), False),
        (table(clean=0.944), False),
        (table(wronged=1), False),
        (Table("digits", {}), False),
    ],
)
def test_what_the_bench_asks_for(found: Table, met: bool) -> None:
    assert found.met is met


def test_tables_are_recorded_between_their_marks() -> None:
    before = f"# Title\n{BEGIN}\nold\n{END}\nrest\n"
    text = recorded(before, [table()])
    assert "old" not in text
    assert text.startswith(f"# Title\n{BEGIN}\n**digits**")
    assert text.endswith(f"\n{END}\nrest\n")
    assert "| noise | 0.100 (+86.0) | 0.900 (+6.0) | 0.950 (+1.0) |" in text
    assert recorded(text, [table()]) == text
    assert "| noise | 18 of 24 | `too_long` 18 | 0 of 96 |" in lines([table()])
    with pytest.raises(ConfigError):
        recorded("# Title", [table()])


@pytest.mark.slow
@pytest.mark.parametrize("defence", ["plain mean", "mean"])
def test_a_run_with_attackers_is_the_same_every_time(defence: Defence) -> None:
    cell = Cell("digits", "sign flip", defence, 0)
    first, again = (run_cell(cell, environ={}) for _ in range(2))
    assert first == again
    assert first.attackers == round(0.2 * TASKS["digits"].recipe.devices)
    assert (first.accuracy > 0.85) == (defence == "mean")
    assert first.wronged == 0
