"""Disturbances: what can go wrong at one point of a state machine's life.

A disturbance waits for the n-th effect or event of a kind at one machine. Then it kills
the machine before or after the effect, lets the effect fail, has the event come twice
or after its successor, or takes the broker away with everything it kept.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeAlias, TypeVar

Fault: TypeAlias = Literal[
    "killed before", "killed after", "fails", "twice", "late", "broker dies"
]
Machine: TypeAlias = Literal["device", "server"]
Thing = TypeVar("Thing")
RECORDS = frozenset({"Commit", "Stop"})
OVERDUE_S = 1.0
"""A held event is delivered after this time if no other comes."""


@dataclass(frozen=True, slots=True)
class Case:
    """One point and one fault; ``nth`` counts from 1 over the machine's whole life."""

    machine: Machine
    kind: str
    fault: Fault
    nth: int

    @property
    def name(self) -> str:
        """Say it in words."""
        return f"{self.machine} {self.kind} {self.nth} {self.fault}"


@dataclass
class Disturbance(Generic[Thing]):
    """Watches one machine, across its restarts, and strikes once."""

    case: Case
    kill: Callable[[], None]
    fail: Callable[[Thing], None]
    lose_broker: Callable[[], None]
    struck: bool = False
    seen: int = 0
    _held: list[Thing] = field(default_factory=list)

    def on_event(self, event: Thing) -> list[Thing]:
        """Return what the machine is told instead of ``event``."""
        held, self._held = self._held, []
        if self.case.fault in ("twice", "late") and self._meets(event):
            if self.case.fault == "twice":
                return [event, event]
            self._held = [event]
            return held
        return [event, *held]

    def overdue(self) -> list[Thing]:
        """Return what is still held back, which then is no longer."""
        held, self._held = self._held, []
        return held

    def strikes_record(self, effects: Iterable[Thing]) -> bool:
        """Tell whether writing down the state that has these effects is to fail."""
        if not self._is_of_record:
            return False
        return sum(map(self._meets, effects)) > 0

    def around(self, effect: Thing, perform: Callable[[Thing], None]) -> None:
        """Perform ``effect`` with what the case does to it."""
        ours = self.case.fault not in ("twice", "late") and not self._is_of_record
        if not ours or not self._meets(effect):
            perform(effect)
        elif self.case.fault == "killed before":
            self.kill()
        elif self.case.fault == "killed after":
            perform(effect)
            self.kill()
        elif self.case.fault == "broker dies":
            perform(effect)
            self.lose_broker()
        else:
            self.fail(effect)
            perform(effect)

    @property
    def _is_of_record(self) -> bool:
        """Whether the effect is nothing but a line in the device's journal."""
        journaled = self.case.machine == "device" and self.case.kind in RECORDS
        return journaled and self.case.fault == "fails"

    def _meets(self, thing: Thing) -> bool:
        if self.struck or type(thing).__name__ != self.case.kind:
            return False
        self.seen += 1
        self.struck = self.seen == self.case.nth
        return self.struck
