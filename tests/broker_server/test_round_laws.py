"""Laws of the round: whatever happens in whatever order, nothing is lost or doubled."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from broker_server.records import Mode, Pending
from broker_server.round_effects import (
    Acknowledge,
    Announce,
    Close,
    Effect,
    GiveUp,
    Keep,
    Merge,
)
from broker_server.round_events import (
    DeadlinePassed,
    Declined,
    Event,
    Exhausted,
    Joined,
    Merged,
    MergeFailed,
    Resumed,
    Started,
)
from broker_server.round_states import Collecting, Failed, Merging, State, Waiting
from broker_server.rounds import step
from tests.broker_server.test_rounds import late, reported
from wire_protocol.errors import Reason

DEVICES = "abcd"
Key = tuple[int, str]


@dataclass
class Books:
    """A store as small as can be: what the effects wrote down."""

    number: int = 0
    version: int = 0
    base: dict[int, int] = field(default_factory=dict)
    accepted: dict[Key, str] = field(default_factory=dict)
    taken: tuple[Pending, ...] = ()
    merged: list[Key] = field(default_factory=list)
    given_up: list[Key] = field(default_factory=list)
    state: State = field(default_factory=Waiting)

    def feed(self, event: Event) -> None:
        """Do as the shell does: perform every effect, and check it."""
        self.state, effects = step(self.state, event)
        for effect in effects:
            self.perform(effect)
        self.check()

    def perform(self, effect: Effect) -> None:
        match effect:
            case Keep(update):
                one = update.participant
                assert (one.round, one.device) not in self.accepted
                self.accepted[one.round, one.device] = one.transfer
            case Acknowledge(number, device, transfer, reason):
                known = self.accepted[number, device]  # stored before it is answered
                same = Reason.ACCEPTED if transfer == known else Reason.DUPLICATE
                assert reason is same
            case Close(_, taken):
                assert list(taken) == sorted(set(taken))
                self.taken = taken
            case Merge():
                assert isinstance(self.state, Merging)
                assert self.state.taken == self.taken
            case Announce():
                self.version += 1
                self.merged += [(one.round, one.device) for one in self.taken]
                self.taken = ()
            case GiveUp(_, taken):
                assert taken == self.taken
                self.given_up += [(one.round, one.device) for one in taken]
                self.taken = ()
            case _:
                pass

    def check(self) -> None:
        """Accepted is merged once, or given up once, or pending."""
        pending = [(one.round, one.device) for one in self.state.pending]
        pending += [(one.round, one.device) for one in self.taken]
        ended = self.merged + self.given_up
        assert sorted(pending + ended) == sorted(self.accepted)

    def restart(self) -> None:
        """Forget everything but what is written down."""
        left = self.state
        self.state = Waiting()
        found = Waiting(left.pending) if isinstance(left, Failed) else left
        self.feed(Resumed(found))


NAMES = (
    *("start", "report", "late", "decline", "join", "exhaust", "deadline"),
    *("merged", "merge failed", "restart", "again"),
)
happenings = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(DEVICES),
    st.integers(0, 3),
)


@settings(max_examples=300)
@given(st.lists(happenings, max_size=60), st.sampled_from(["sync", "buffered"]))
def test_what_is_accepted_is_merged_once_or_pending(
    story: list[tuple[str, str, int]], mode: Mode
) -> None:
    books = Books()
    last: Event | None = None
    for name, device, back in story:
        event = _event(books, name, device, back=back, mode=mode, last=last)
        if name == "restart":
            books.restart()
        elif event is not None:
            books.feed(event)
            last = event
    assert len(set(books.merged)) == len(books.merged)


def _event(
    books: Books, name: str, device: str, *, back: int, mode: Mode, last: Event | None
) -> Event | None:
    """Return an event about the newest round, or one ``back`` rounds before it."""
    number = books.number - back
    plain: dict[str, Event] = {
        "report": reported(device, f"{number}{device}", number=number),
        "decline": Declined(number, device),
        "join": Joined(number, frozenset(device)),
        "exhaust": Exhausted(number),
        "deadline": DeadlinePassed(number),
        "merged": Merged(number),
        "merge failed": MergeFailed(number),
    }
    if name == "start":
        return _started(books, size=back + 1, mode=mode)
    if name == "late":
        collects = isinstance(books.state, Collecting) and not back
        base = books.base.get(number)
        if base is None or collects:
            return None
        last = late(number, device, f"{number}{device}", version=base)
    elif name != "again":
        return plain.get(name)
    # the shell answers what the store knows, before the machine hears of it
    return None if last is None or _is_known(books, last) else last


def _started(books: Books, *, size: int, mode: Mode) -> Started:
    if isinstance(books.state, Waiting | Failed):
        books.number += 1
        books.base[books.number] = books.version
    return Started(
        books.number,
        books.version,
        frozenset(DEVICES[:size]),
        goal=size - 1,
        minimum=1,
        mode=mode,
    )


def _is_known(books: Books, event: Event | None) -> bool:
    """Tell whether the shell would answer a late update from the store."""
    key = getattr(event, "round", 0), getattr(event, "device", "")
    return type(event).__name__ == "LateReported" and key in books.accepted
