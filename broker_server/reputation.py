"""Reputations: what a device has done so far, and whether it may take part.

A fault is a strike, an update without one takes back half a strike. With enough strikes
a device is not invited for a number of rounds, then it is on probation: one strike less
is enough, for twice as many rounds. This module is pure.

>>> liar = Reputation("liar")
>>> for number in (1, 2, 3):
...     liar = struck(liar, Fault.TOO_LONG, number=number, guard=GuardSection())
>>> liar.standing(4), liar.until, liar.sentence
('quarantined', 11, 'its updates were many times longer than those of the others')
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from broker_server.assessment import Assessment, Fault
from broker_server.guard_settings import GuardSection
from wire_protocol.errors import Reason

Standing: TypeAlias = Literal["new", "good", "quarantined", "probation"]

OFFENCES: Final = frozenset(
    {
        Reason.MALFORMED,
        Reason.TOO_LARGE,
        Reason.NOT_FINITE,
        Reason.WRONG_SCHEMA,
        Reason.WRONG_CODEC,
    }
)
"""Why an update was refused, where its device and nothing else can be at fault."""
SENTENCES: Final[Mapping[str, str]] = {
    Fault.TOO_LONG: "its updates were many times longer than those of the others",
    Fault.NOTHING: "its updates said nothing: it takes part, but does not train",
    Fault.COPIED: "it sent the very same updates as another device",
    Fault.REPEATED: "it sent the model's own last step back instead of training",
    Fault.AGAINST: "its updates went against those of all others",
    Reason.MALFORMED: "what it sent could not be read",
    Reason.TOO_LARGE: "it sent more than an update can have",
    Reason.NOT_FINITE: "its updates held infinite numbers or none",
    Reason.WRONG_SCHEMA: "its updates were of another model",
    Reason.WRONG_CODEC: "its updates were in a codec that was not asked for",
}
LONGEST_ROUNDS: Final = 1 << 20
_FORGIVEN: Final = 0.5


@dataclass(frozen=True, slots=True)
class Reputation:
    """What is known of one device's conduct.

    Attributes:
        device: Its name.
        judged: Updates of it that a merge took and compared with others.
        faults: Those with a fault.
        offences: What it sent that could not be an update.
        strikes: What stands against it now.
        quarantines: How often it was put in quarantine.
        until: The last round that it is not invited to; 0: never was.
        reason: What last put it in quarantine: a ``Fault`` or ``Reason``; or empty.
        length: Of its last update, in units of the running median norm.
        agreement: Of its last update, the cosine with what was merged.
    """

    device: str
    judged: int = 0
    faults: int = 0
    offences: int = 0
    strikes: float = 0.0
    quarantines: int = 0
    until: int = 0
    reason: str = ""
    length: float = 0.0
    agreement: float = 0.0

    def standing(self, number: int) -> Standing:
        """Return how it stands in round ``number``."""
        if self.until > 0 and number <= self.until:
            return "quarantined"
        if self.quarantines and self.strikes > 0.0:
            return "probation"
        return "good" if self.judged or self.offences else "new"

    @property
    def sentence(self) -> str:
        """Why it was put in quarantine, for people; or empty."""
        return SENTENCES.get(self.reason, "")


def struck(
    one: Reputation, cause: Fault | Reason, *, number: int, guard: GuardSection
) -> Reputation:
    """Return the reputation after a fault or an offence in round ``number``."""
    strikes = min(one.strikes + 1.0, float(guard.strikes))
    if strikes < guard.strikes:
        return replace(one, strikes=strikes)
    rounds = min(guard.quarantine_rounds << min(one.quarantines, 20), LONGEST_ROUNDS)
    return replace(
        one,
        strikes=guard.strikes - 1.0,
        quarantines=one.quarantines + 1,
        until=number + rounds,
        reason=str(cause),
    )


def judged(
    one: Reputation, seen: Assessment, *, number: int, guard: GuardSection, spare: bool
) -> Reputation:
    """Return the reputation after the merge of round ``number`` saw an update of it.

    With ``spare`` it is not put in quarantine now, whatever it did.
    """
    one = replace(
        one, judged=one.judged + 1, length=seen.length, agreement=seen.agreement
    )
    if number <= one.until:  # sent before: it has been dealt with
        return one
    if seen.fault is None:
        return replace(one, strikes=max(one.strikes - _FORGIVEN, 0.0))
    one = replace(one, faults=one.faults + 1)
    return _spared(one, guard) if spare else _struck(one, seen.fault, number, guard)


def offended(
    one: Reputation, cause: Reason, *, number: int, guard: GuardSection, spare: bool
) -> Reputation:
    """Return the reputation after a refused message, now in round ``number``.

    What is already in quarantine is not changed: a flood of messages writes nothing.
    """
    if number <= one.until or cause not in OFFENCES:
        return one
    if spare and one.strikes >= guard.strikes - 1.0:
        return one
    one = replace(one, offences=one.offences + 1)
    return _spared(one, guard) if spare else _struck(one, cause, number, guard)


def after_merge(
    known: Iterable[Reputation],
    assessments: Iterable[Assessment],
    *,
    number: int,
    guard: GuardSection,
    least: int,
) -> list[Reputation]:
    """Return the changed reputations after the merge of round ``number``.

    Those in quarantine stay a minority, and leave ``least`` devices to hold rounds
    with: if most were at fault, it would be unclear who is.
    """
    by_name = {one.device: one for one in known}
    changed: set[str] = set()
    for seen in assessments:
        one = by_name.get(seen.device, Reputation(seen.device))
        by_name[seen.device] = one
        by_name[seen.device] = judged(
            one,
            seen,
            number=number,
            guard=guard,
            spare=not guard.quarantine
            or not has_room(by_name.values(), number=number, least=least),
        )
        changed.add(seen.device)
    return [by_name[name] for name in sorted(changed)]


def has_room(known: Collection[Reputation], *, number: int, least: int) -> bool:
    """Whether one more device of those that have taken part can be spared."""
    taking_part = [one for one in known if one.judged]
    out = sum(one.standing(number + 1) == "quarantined" for one in taking_part)
    left = len(taking_part) - out - 1
    return left >= max(least, len(taking_part) // 2 + 1)


def _struck(
    one: Reputation, cause: Fault | Reason, number: int, guard: GuardSection
) -> Reputation:
    return struck(one, cause, number=number, guard=guard)


def _spared(one: Reputation, guard: GuardSection) -> Reputation:
    return replace(one, strikes=min(one.strikes + 1.0, guard.strikes - 1.0))
