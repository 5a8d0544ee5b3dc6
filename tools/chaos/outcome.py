"""What chaos found out, and its JSON (docs/chaos.schema.json). This module is pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, TypeAlias

from tools.chaos.ledger import Balance
from tools.chaos.plan import ALLOWANCE, ChaosPlan

Verdict: TypeAlias = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to the federation.

    ``at_s`` counts from its start; ``detail`` says in which phase it struck, or how
    hard.
    """

    at_s: float
    kind: str
    target: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """What proxies carried and did, all links together.

    ``artifact_bytes`` is what all devices together must get of the model's files.
    """

    connections: int
    cuts: int
    lost: int
    doubled: int
    device_bytes_up: int
    device_bytes_down: int
    artifact_bytes: int


@dataclass(frozen=True, slots=True)
class ScenarioOutcome:
    """One scenario.

    Attributes:
        name: As it is called with ``--scenario``.
        verdict: Passed only when it ran to its end and nothing is wrong.
        problems: What is wrong, or why it was skipped.
        faults: What was done, in order.
        carried: Of the proxies, if there were any.
        rounds: Versions that were merged.
        failed_rounds: Rounds that brought none.
        seconds: From the first process to the last merge.
        accuracy: Of the last version on held-out examples.
        reference: Of the undisturbed federation after as many rounds.
        ledger: The books, added up.
        refused: Receipts other than ``accepted``, by reason.
        folder: Where configurations, states and logs are; empty if removed.
    """

    name: str
    verdict: Verdict
    problems: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    carried: Carried | None = None
    rounds: int = 0
    failed_rounds: int = 0
    seconds: float = 0.0
    accuracy: float | None = None
    reference: float | None = None
    ledger: Balance | None = None
    refused: tuple[tuple[str, int], ...] = ()
    folder: str = ""

    @property
    def fault_counts(self) -> dict[str, int]:
        """Return how often each kind of fault struck."""
        counts = Counter(fault.kind for fault in self.faults)
        if self.carried is not None:
            for kind in ("cuts", "lost", "doubled"):
                count = getattr(self.carried, kind)
                if count:
                    counts[kind] += count
        return dict(counts)

    def failed(self, problems: Sequence[str]) -> "ScenarioOutcome":
        """Return the same, failed because of ``problems``."""
        return replace(self, verdict="failed", problems=tuple(problems))

    def to_json(self) -> dict[str, object]:
        """Return the object of one scenario."""
        plain = asdict(self)
        return {
            **plain,
            "refused": dict(self.refused),
            "fault_counts": self.fault_counts,
        }


@dataclass(frozen=True, slots=True)
class ChaosOutcome:
    """A whole run of the kit."""

    plan: ChaosPlan
    scenarios: Sequence[ScenarioOutcome]

    @property
    def passed(self) -> bool:
        """Whether nothing failed; what was skipped proves nothing either way."""
        return not any(one.verdict == "failed" for one in self.scenarios)

    def to_json(self) -> dict[str, object]:
        """Return the object that docs/chaos.schema.json describes."""
        return {
            "schema": 1,
            **asdict(self.plan),
            "allowance": ALLOWANCE,
            "passed": self.passed,
            "scenarios": [one.to_json() for one in self.scenarios],
        }
