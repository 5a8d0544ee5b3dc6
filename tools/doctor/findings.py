"""Findings: what a check found, how grave that is, and what to do about it.

This module is pure.

>>> exit_code([Finding(Verdict.OK, "fine")])
0
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

Measured: TypeAlias = Mapping[str, float | int | str | bool | None]
SOMETHING_FAILED: Final = 1
_NOTHING: Final[Measured] = {}


class Verdict(StrEnum):
    """How grave a finding is; a warning harms, a failure hinders."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        verdict: How grave it is.
        found: One line, with numbers; or why nothing was measured.
        remedy: What to do: a command or a line of configuration; all that is not in
            order has one.
        measured: The numbers, for machines; names end with their unit.
    """

    verdict: Verdict
    found: str
    remedy: str = ""
    measured: Measured = field(default_factory=dict)

    def __post_init__(self) -> None:
        hurts = self.verdict in (Verdict.WARNING, Verdict.FAILED)
        assert self.remedy or not hurts, f"no remedy for {self.found!r}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A finding, and the name of the check it is of."""

    check: str
    finding: Finding


def ok(found: str, *, measured: Measured = _NOTHING) -> Finding:
    """Return that all is in order."""
    return Finding(Verdict.OK, found, measured=measured)


def warning(found: str, *, remedy: str, measured: Measured = _NOTHING) -> Finding:
    """Return what harms, but hinders nothing."""
    return Finding(Verdict.WARNING, found, remedy, measured)


def failed(found: str, *, remedy: str, measured: Measured = _NOTHING) -> Finding:
    """Return what hinders."""
    return Finding(Verdict.FAILED, found, remedy, measured)


def not_measured(why: str, *, remedy: str = "") -> Finding:
    """Return that nothing was measured, and ``why``."""
    return Finding(Verdict.NOT_MEASURED, why, remedy)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 if something failed, else 0."""
    hindered = any(one.verdict is Verdict.FAILED for one in findings)
    return SOMETHING_FAILED if hindered else 0


def to_json(side: str, entries: Iterable[Entry]) -> dict[str, object]:
    """Return the report for machines; ``docs/doctor.schema.json`` describes it."""
    every = list(entries)
    verdicts = [one.finding.verdict for one in every]
    return {
        "side": side,
        "counts": {
            str(verdict).replace(" ", "_"): verdicts.count(verdict)
            for verdict in Verdict
        },
        "findings": [
            {
                "check": one.check,
                "verdict": str(one.finding.verdict),
                "found": one.finding.found,
                "remedy": one.finding.remedy,
                "measured": dict(one.finding.measured),
            }
            for one in every
        ],
    }
