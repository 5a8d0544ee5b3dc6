"""What is shown while chaos runs, and the report at its end."""

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tools.chaos.outcome import ChaosOutcome, Fault, ScenarioOutcome, Verdict
from tools.demo.display import device_bytes
from tools.demo.fleet_state import FleetState

_COLOURS: Final[dict[Verdict, str]] = {
    "passed": "green",
    "failed": "bold red",
    "skipped": "yellow",
}
_RECENT: Final = 4


class ChaosDisplay(Protocol):
    """Who shows what happens, between ``begin`` and ``end``."""

    def begin(self) -> None:
        """Start showing."""

    def end(self) -> None:
        """Stop showing; what was shown stays."""

    def scenario(self, name: str, *, rounds: int) -> None:
        """Tell which scenario runs now."""

    def fleet(self, state: FleetState) -> None:
        """Show the fleet as it is now."""

    def fault(self, fault: Fault) -> None:
        """Show a fault that struck."""

    def judged(self, outcome: ScenarioOutcome) -> None:
        """Show what came of a scenario."""


class LiveChaosDisplay:
    """The report as far as it goes, drawn again in place, and what happens now."""

    def __init__(self, console: Console) -> None:
        self._outcomes: list[ScenarioOutcome] = []
        self._name = ""
        self._rounds = 0
        self._began = 0.0
        self._fleet = FleetState()
        self._faults: list[Fault] = []
        self._live = Live(console=console, get_renderable=self.picture, transient=True)

    def begin(self) -> None:
        """Take the screen."""
        self._live.start()

    def end(self) -> None:
        """Give it back, empty: the report is printed then."""
        self._live.stop()

    def scenario(self, name: str, *, rounds: int) -> None:
        """Begin a new scenario under the report."""
        self._name, self._rounds, self._began = name, rounds, time.monotonic()
        self._fleet, self._faults = FleetState(), []

    def fleet(self, state: FleetState) -> None:
        """Draw the fleet at the next redraw."""
        self._fleet = state

    def fault(self, fault: Fault) -> None:
        """Draw the fault at the next redraw."""
        self._faults.append(fault)

    def judged(self, outcome: ScenarioOutcome) -> None:
        """Add a row to the report."""
        self._outcomes.append(outcome)

    def picture(self) -> Group:
        """Return what is to be seen now."""
        server = self._fleet.server
        phases = " ".join(
            f"{name} {device.phase}" for name, device in self._fleet.devices.items()
        )
        return Group(
            *([table(self._outcomes)] if self._outcomes else []),
            Text.assemble(
                (self._name, "bold"),
                f"   version {server.version} of {self._rounds}"
                f"   round {server.round}, {server.phase} "
                f"{len(server.received)}/{len(server.cohort)}"
                f"   {len(self._faults)} faults"
                f"   {time.monotonic() - self._began:.0f} s",
            ),
            Text(phases, style="dim"),
            *(Text(fault_line(fault)) for fault in self._faults[-_RECENT:]),
        )


class PlainChaosDisplay:
    """Lines, for a log or a pipe."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def begin(self) -> None:
        """Nothing to prepare."""

    def end(self) -> None:
        """Nothing to give back."""

    def scenario(self, name: str, *, rounds: int) -> None:
        """Write the scenario's name."""
        self._write(f"{name}: {rounds} rounds")

    def fleet(self, state: FleetState) -> None:
        """Nothing: a log has a line for each fault."""

    def fault(self, fault: Fault) -> None:
        """Write the fault's line."""
        self._write(fault_line(fault))

    def judged(self, outcome: ScenarioOutcome) -> None:
        """Write the verdict, and why."""
        self._write(f"{outcome.name}: {outcome.verdict} after {outcome.seconds:.1f} s")
        for problem in outcome.problems:
            self._write(f"    {problem}")


def fault_line(fault: Fault) -> str:
    """Return a fault as a line.

    >>> fault_line(Fault(3.25, "kill", "server", "round 2, collecting"))
    '     3.2 s  kill server (round 2, collecting)'
    """
    detail = f" ({fault.detail})" if fault.detail else ""
    return f"  {fault.at_s:6.1f} s  {fault.kind} {fault.target}{detail}"


def table(outcomes: Sequence[ScenarioOutcome]) -> Table:
    """Return a row for each scenario."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    shown.add_column("scenario", no_wrap=True)
    shown.add_column("faults", no_wrap=True)
    for title in ("rounds", "s", "accuracy"):
        shown.add_column(title, justify="right", no_wrap=True)
    shown.add_column("updates", no_wrap=True)
    shown.add_column("verdict", no_wrap=True)
    for one in outcomes:
        failed = f"\n+{one.failed_rounds} failed" if one.failed_rounds else ""
        shown.add_row(
            one.name,
            _faults(one),
            f"{one.rounds or ''}{failed}",
            f"{one.seconds:.0f}" if one.seconds else "",
            _accuracy(one),
            _ledger(one),
            Text(one.verdict, style=_COLOURS[one.verdict]),
        )
    return shown


def report(outcome: ChaosOutcome) -> Group:
    """Return the table, and under it what is wrong and where to look."""
    lines = [Text(note) for one in outcome.scenarios for note in _notes(one)]
    for one in outcome.scenarios:
        if one.verdict == "passed":
            continue
        lines.append(Text(f"{one.name}: {one.verdict}", style=_COLOURS[one.verdict]))
        lines += [Text(f"  {problem}") for problem in one.problems]
        if one.folder:
            lines.append(Text(f"  logs: {one.folder}/logs"))
    return Group(table(outcome.scenarios), *lines)


def _faults(one: ScenarioOutcome) -> str:
    lines = [f"{count} {kind}" for kind, count in one.fault_counts.items()]
    times = [f"{fault.at_s:.0f}" for fault in one.faults]
    if len(times) > 1:
        lines.append(f"{times[0]} to {times[-1]} s")
    elif times:
        lines.append(f"at {times[0]} s")
    return "\n".join(lines)


def _accuracy(one: ScenarioOutcome) -> str:
    if one.accuracy is None:
        return ""
    undisturbed = "" if one.reference is None else f"\nof {one.reference:.3f}"
    return f"{one.accuracy:.3f}{undisturbed}"


def _ledger(one: ScenarioOutcome) -> str:
    books = one.ledger
    if books is None:
        return ""
    return "\n".join(
        [
            f"{books.merged} of {books.accepted} merged",
            *([f"{books.pending} pending"] if books.pending else []),
            f"{len(books.lost)} lost, {len(books.twice)} twice",
        ]
    )


def _notes(one: ScenarioOutcome) -> list[str]:
    """Return what else is worth knowing of a scenario that ran."""
    carried = one.carried
    if carried is None or not carried.cuts:
        return []
    got = device_bytes(carried.device_bytes_down)
    whole = device_bytes(carried.artifact_bytes)
    return [f"{one.name}: {carried.cuts} cuts; devices got {got} for {whole} of files"]
