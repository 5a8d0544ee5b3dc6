"""Whatever happens to one member at one point, the outcome is the same to the bit.

The cases are generated: every effect of the two round machines that an ordinary run has
x {killed before it, killed after it, it fails}, and every event x {it comes twice, it
comes after its successor}, in several rounds; and every effect x {the broker dies with
all that it kept, for ten minutes}.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from broker_server.config import RoundSection
from broker_server.records import LedgerEntry
from broker_server.store import Store
from tests.scenarios.disturbance import Case, Fault, Machine
from tests.scenarios.mortal_federation import DEVICES, Federation
from tests.virtual_time import run_virtually

ROUNDS = 3
EVERYBODY = RoundSection(
    rounds=ROUNDS, devices=len(DEVICES), minimum=len(DEVICES), deadline_s=3600.0
)
EFFECTS: dict[Machine, tuple[str, ...]] = {
    "device": ("Fetch", "Train", "Report", "Stop", "Commit"),
    "server": ("Offer", "Keep", "Acknowledge", "Close", "Merge", "Announce"),
}
EVENTS: dict[Machine, tuple[str, ...]] = {
    "device": ("Offered", "Fetched", "Trained", "Receipted", "RoundClosed"),
    "server": ("Started", "Reported", "Merged"),
}
TO_EFFECTS: tuple[Fault, ...] = ("killed before", "killed after", "fails")
TO_EVENTS: tuple[Fault, ...] = ("twice", "late")
EACH_DEVICE_HAS_ONE = frozenset({"Keep", "Acknowledge", "Reported"})
"""What a server meets once for each device and round."""


def generated(rounds: Sequence[int] = (1, 2, 3)) -> Iterator[Case]:
    for machine, things, faults in (
        *((machine, kinds, TO_EFFECTS) for machine, kinds in EFFECTS.items()),
        *((machine, kinds, TO_EVENTS) for machine, kinds in EVENTS.items()),
    ):
        for kind, fault, number in itertools.product(things, faults, rounds):
            per_round = len(DEVICES) if kind in EACH_DEVICE_HAS_ONE else 1
            # in round 2 the first device, in round 3 the last one
            nth = (number - 1) * per_round + (per_round if number == ROUNDS else 1)
            yield Case(machine, kind, fault, nth)


def outages() -> Iterator[Case]:
    for machine, kinds in EFFECTS.items():
        for kind in kinds:
            nth = len(DEVICES) + 1 if kind in EACH_DEVICE_HAS_ONE else 2
            yield Case(machine, kind, "broker dies", nth)


CASES = {case.name: case for case in generated()}
OF_ROUND_2 = {case.name for case in generated((2,))}
"""Run every time; what happens in the first and the last round is for the slow run."""
OUTAGES = {case.name: case for case in outages()}


class Outcome:
    """What is left of a run: versions, and which updates each of them took."""

    def __init__(self, folder: Path, case: Case | None) -> None:
        self.federation = Federation(folder, case=case, rounds=EVERYBODY)
        run_virtually(self.federation.run())
        with Store.open(folder / "server", readonly=True) as store:
            self.versions = [one.params for one in store.versions()]
            self.ledger: list[LedgerEntry] = store.ledger()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return Outcome(tmp_path_factory.mktemp("undisturbed"), None)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 90
    assert len(CASES) == 3 * (3 * 11 + 2 * 8)
    assert len(OF_ROUND_2) == len(CASES) / 3


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=name,
            marks=[] if name in OF_ROUND_2 or name in OUTAGES else [pytest.mark.slow],
        )
        for name, case in {**CASES, **OUTAGES}.items()
    ],
)
def test_a_disturbed_run_ends_as_the_undisturbed_one(
    tmp_path: Path, undisturbed: Outcome, case: Case
) -> None:
    outcome = Outcome(tmp_path, case)
    disturbance = outcome.federation.disturbance
    assert disturbance is not None
    assert disturbance.struck, "the case met nothing"
    assert outcome.federation.kills == (1 if case.fault.startswith("killed") else 0)
    assert outcome.versions == undisturbed.versions
    assert outcome.ledger == undisturbed.ledger
