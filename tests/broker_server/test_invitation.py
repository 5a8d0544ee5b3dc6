"""When a round begins, and whom it invites."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_server.artifact import Artifact, load_artifact
from broker_server.config import (
    ModelSection,
    RoundSection,
    ServerConfig,
    ServerSection,
)
from broker_server.invitation import Invitations, invitation
from broker_server.records import Pending
from broker_server.registry import Registry
from broker_server.round_events import Exhausted, Joined, Started
from broker_server.round_states import Collecting, Merging, State, Waiting
from tests.broker_server.small_server import write_artifact
from wire_protocol.messages import MAX_COHORT, CheckIn

VERSION = 5
FLEET = frozenset("abcdefgh")
CARRIED = Pending(6, "a", "t", VERSION)
LATE = Pending(4, "b", "t", VERSION - 1)


def started(
    section: RoundSection,
    eligible: frozenset[str] = FLEET,
    *pending: Pending,
    begun: bool = True,
) -> Started | None:
    return invitation(
        config_of(section),
        eligible,
        pending=pending,
        number=7,
        version=VERSION,
        begun=begun,
    )


def config_of(section: RoundSection) -> ServerConfig:
    server = ServerSection(Path("state"))
    return ServerConfig(server=server, model=ModelSection("tiny"), round=section)


# devices invited, and updates that make a merge
SIZES: dict[str, tuple[RoundSection, tuple[Pending, ...], int, int]] = {
    "the whole fleet": (RoundSection(), (), 8, 8),
    "half of it": (RoundSection(fraction=0.5), (), 5, 4),
    "a goal": (RoundSection(goal=4), (), 5, 4),
    "a goal above the fleet": (RoundSection(goal=99), (), 8, 99),
    "no more than needed": (RoundSection(goal=4, over_select=1.0), (), 4, 4),
    "at least the minimum": (RoundSection(fraction=0.1, minimum=3), (), 4, 3),
    "one is carried": (RoundSection(goal=5), (CARRIED,), 5, 5),
    "the whole fleet but for who is carried": (RoundSection(), (CARRIED,), 7, 8),
    "a late one does not count": (RoundSection(goal=4), (LATE,), 5, 4),
    "everything is carried": (RoundSection(goal=1), (CARRIED,), 0, 1),
}


@pytest.mark.parametrize(
    ("section", "pending", "invited", "goal"), SIZES.values(), ids=list(SIZES)
)
def test_how_many_are_invited(
    section: RoundSection, pending: tuple[Pending, ...], invited: int, goal: int
) -> None:
    start = started(section, FLEET, *pending)
    assert start is not None
    assert (len(start.cohort), start.goal) == (invited, goal)
    assert start.cohort <= FLEET - {one.device for one in pending if one is CARRIED}


NOBODY: frozenset[str] = frozenset()
TOO_FEW: dict[str, tuple[RoundSection, frozenset[str], tuple[Pending, ...]]] = {
    "nobody": (RoundSection(), NOBODY, ()),
    "under the minimum": (RoundSection(minimum=3), frozenset("ab"), ()),
    "only late ones": (RoundSection(), NOBODY, (LATE,)),
    "carried, but under the minimum": (RoundSection(minimum=2), NOBODY, (CARRIED,)),
    "nobody for the buffer": (RoundSection(mode="buffered"), NOBODY, (LATE,)),
}


@pytest.mark.parametrize(
    ("section", "eligible", "pending"), TOO_FEW.values(), ids=list(TOO_FEW)
)
def test_no_round_begins_without_enough_devices(
    section: RoundSection, eligible: frozenset[str], pending: tuple[Pending, ...]
) -> None:
    assert started(section, eligible, *pending) is None


def test_the_first_round_waits_for_more_devices() -> None:
    section = RoundSection(devices=9)
    assert started(section, begun=False) is None
    assert started(section) is not None
    assert started(section, FLEET | {"i"}, begun=False) is not None


def test_a_buffered_round_invites_whoever_is_free() -> None:
    section = RoundSection(mode="buffered", buffer=2, goal=1, fraction=0.1)
    start = started(section, FLEET, CARRIED)
    assert start == Started(7, VERSION, FLEET - {"a"}, 2, 1, mode="buffered")
    # A full buffer is merged before anybody is asked to train what it replaces.
    full = started(section, FLEET, CARRIED, LATE)
    assert full == Started(7, VERSION, frozenset(), 2, 1, mode="buffered")


@given(st.integers(0, 600), st.sampled_from(["sync", "buffered"]))
def test_an_offer_has_room_for_everybody_it_invites(count: int, mode: str) -> None:
    section = RoundSection(mode=mode)  # type: ignore[arg-type]
    start = started(section, frozenset(f"d{i}" for i in range(count)))
    assert (start is None) == (count == 0)
    assert start is None or len(start.cohort) == min(count, MAX_COHORT)


# --- while a round is open --------------------------------------------------------

PI = CheckIn(1, "litert 2", "tflite", ("uq",), 10)
OPEN = Collecting(7, VERSION, frozenset("a"), goal=3, minimum=1, mode="buffered")
REPORTED = replace(OPEN, pending=frozenset({Pending(7, "a", "t", VERSION)}))


def fleet(names: str, *, busy: str = "") -> Registry:
    registry = Registry()
    for name in names:
        check_in = replace(PI, busy=int(name in busy))
        registry = registry.checked_in(name, check_in).availability(name, online=True)
    return registry


DUE: dict[str, tuple[State, Registry, object]] = {
    "one is free": (OPEN, fleet("ab"), Joined(7, frozenset("b"))),
    "one is busy": (OPEN, fleet("ab", busy="b"), None),
    "one is still at work": (OPEN, fleet("a"), None),
    "all are done": (REPORTED, fleet("a"), Exhausted(7)),
    "a late one may come": (REPORTED, fleet("ab", busy="b"), None),
    "nothing is there to merge": (
        replace(OPEN, declined=frozenset("a")),
        fleet("a"),
        None,
    ),
    "a sync round": (replace(REPORTED, mode="sync"), fleet("ab"), None),
    "a merge": (Merging(7, VERSION, ()), fleet("ab"), None),
    "a late update of this version was enough": (
        replace(OPEN, pending=frozenset({Pending(6, "b", "t", VERSION)})),
        fleet("ab"),
        None,
    ),
}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return load_artifact(write_artifact(tmp_path_factory.mktemp("artifact")))


@pytest.mark.parametrize(("state", "registry", "due"), DUE.values(), ids=list(DUE))
def test_who_may_join_an_open_round(
    state: State, registry: Registry, due: object, artifact: Artifact
) -> None:
    invitations = Invitations(config_of(RoundSection()), artifact)
    assert invitations.due(state, registry, number=8, version=VERSION) == due


def test_only_the_first_round_of_a_run_waits(artifact: Artifact) -> None:
    section = RoundSection(devices=2)
    invitations = Invitations(config_of(section), artifact)
    for names, begins in (("a", False), ("ab", True), ("a", True)):
        due = invitations.due(Waiting(), fleet(names), number=1, version=0)
        assert isinstance(due, Started) is begins
