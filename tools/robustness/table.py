"""The attack table: what is left of the accuracy, attack by attack and mode by mode.

This module is pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from tools.robustness.arena import Cell, Outcome
from tools.robustness.attacks import ATTACKS, Attack
from tools.robustness.tasks import DEFENCES, TASKS, Defence
from wire_protocol.errors import ConfigError

BEGIN: Final = "<!-- make bench-robust -->"
END: Final = "<!-- end -->"
MOST_LOST: Final = 3.0
"""Points that the best mode may lose under an attack."""
UNCOUNTED: Final[frozenset[Attack]] = frozenset({"none", "false claims"})
"""False claims are shown for what they do to a weighted mean."""
MOST_LOST_CLEAN: Final = 1.5
"""Points that it may lose with no attacker."""


@dataclass(frozen=True, slots=True)
class Table:
    """The runs of one task: outcomes by attack and defence, of all seeds."""

    task: str
    runs: Mapping[tuple[Attack, Defence], tuple[Outcome, ...]]

    @classmethod
    def of(cls, task: str, outcomes: Mapping[Cell, Outcome]) -> "Table":
        """Collect the runs of ``task``."""
        runs: dict[tuple[Attack, Defence], tuple[Outcome, ...]] = {}
        for cell, outcome in sorted(outcomes.items()):
            if cell.task == task:
                pair = cell.attack, cell.defence
                runs[pair] = (*runs.get(pair, ()), outcome)
        return cls(task, runs)

    @property
    def attacks(self) -> list[Attack]:
        """Those that were tried, in order."""
        return [one for one in ATTACKS if any(one == attack for attack, _ in self.runs)]

    @property
    def defences(self) -> list[Defence]:
        """Those that were tried, in order."""
        return [one for one in DEFENCES if any(one == mode for _, mode in self.runs)]

    def accuracy(self, attack: Attack, defence: Defence) -> float | None:
        """Return the median over seeds."""
        runs = self.runs.get((attack, defence))
        return median(one.accuracy for one in runs) if runs else None

    def lost(self, attack: Attack, defence: Defence) -> float | None:
        """Return the points that are lost against plain mean without attackers."""
        clean = self.accuracy("none", "plain mean")
        left = self.accuracy(attack, defence)
        return None if clean is None or left is None else 100 * (clean - left)

    def most_lost(self, defence: Defence) -> float | None:
        """Return the most that ``defence`` loses under any attack that counts."""
        counted = [one for one in self.attacks if one not in UNCOUNTED]
        lost = [self.lost(one, defence) for one in counted]
        known = [points for points in lost if points is not None]
        return max(known) if known else None

    @property
    def best(self) -> Defence | None:
        """The mode that loses least under the attack that harms it most."""
        known = [
            (lost, number)
            for number, mode in enumerate(self.defences)
            if mode != "plain mean" and (lost := self.most_lost(mode)) is not None
        ]
        return self.defences[min(known)[1]] if known else None

    @property
    def wronged(self) -> int:
        """Honest devices that were ever put in quarantine, over all runs."""
        return sum(one.wronged for runs in self.runs.values() for one in runs)

    @property
    def met(self) -> bool:
        """Whether the best mode keeps to both limits, and nobody honest is wronged."""
        best = self.best
        if best is None:
            return False
        lost, clean = self.most_lost(best), self.lost("none", best)
        return (
            lost is not None
            and clean is not None
            and lost <= MOST_LOST
            and clean <= MOST_LOST_CLEAN
            and not self.wronged
        )


def lines(tables: Iterable[Table]) -> list[str]:
    """Return the tables in Markdown."""
    found: list[str] = []
    for table in tables:
        found += [*_accuracies(table), "", *_conduct(table), ""]
    return found[:-1]


def recorded(document: str, tables: Sequence[Table]) -> str:
    """Return ``document`` with the tables between its two marks.

    Raises:
        ConfigError: It has not both of them, in order.
    """
    begin, end = document.find(BEGIN), document.find(END)
    if not 0 <= begin < end:
        raise ConfigError(
            f"the document has no {BEGIN} that {END} follows",
            remedy="put both where the tables belong",
        )
    body = "\n".join(lines(tables))
    return f"{document[:begin]}{BEGIN}\n{body}\n{document[end:]}"


def _accuracies(table: Table) -> list[str]:
    first = next(iter(table.runs.values()))
    seeds = len(first)
    most = max(one.attackers for runs in table.runs.values() for one in runs)
    over = "one seed" if seeds == 1 else f"median over {seeds} seeds"
    head = (
        f"**{table.task}**: {TASKS[table.task].model}, {most} of {first[0].devices} "
        f"devices attack. Accuracy, {over}, and points lost against "
        "plain mean without attackers."
    )
    rows = [
        head,
        "",
        f"| attack | {' | '.join(table.defences)} |",
        f"| --- |{' ---: |' * len(table.defences)}",
    ]
    for attack in table.attacks:
        cells = [_cell(table, attack, defence) for defence in table.defences]
        rows.append(f"| {attack} | {' | '.join(cells)} |")
    worst = [table.most_lost(defence) for defence in table.defences]
    cells = ["-" if points is None else f"{points:.1f}" for points in worst]
    return [*rows, f"| most lost, but for false claims | {' | '.join(cells)} |"]


def _cell(table: Table, attack: Attack, defence: Defence) -> str:
    accuracy, lost = table.accuracy(attack, defence), table.lost(attack, defence)
    if accuracy is None:
        return "-"
    return f"{accuracy:.3f}" if lost is None else f"{accuracy:.3f} ({lost:+.1f})"


def _conduct(table: Table) -> list[str]:
    """Return who was put in quarantine, over all guarded modes and seeds."""
    rows = ["| attack | attackers caught | why | honest devices in quarantine |"]
    rows.append("| --- | ---: | --- | ---: |")
    for attack in table.attacks:
        runs = [
            one
            for (tried, defence), outcomes in table.runs.items()
            if tried == attack and defence != "plain mean"
            for one in outcomes
        ]
        caught, attackers = (
            sum(one.caught for one in runs),
            sum(one.attackers for one in runs),
        )
        honest = sum(one.devices - one.attackers for one in runs)
        why: dict[str, int] = {}
        for one in runs:
            for reason, count in one.reasons.items():
                why[reason] = why.get(reason, 0) + count
        words = ", ".join(f"`{name}` {count}" for name, count in sorted(why.items()))
        wronged = sum(one.wronged for one in runs)
        rows.append(
            f"| {attack} | {caught} of {attackers} | {words or '-'} "
            f"| {wronged} of {honest} |"
        )
    return rows
