"""A campaign finds what it is there to find, and the same again."""

import time
from collections import defaultdict
from collections.abc import Callable

import pytest

from tools.fuzz.campaign import Campaign, Outcome
from tools.fuzz.shapes import FRAME, JSON
from tools.fuzz.target import Target, always
from wire_protocol.errors import DecodeError
from wire_protocol.fields import Fields, json_object

SLOW_S = 0.05
GOOD = b'{"size": 3}'


def forgetful(raw: bytes) -> None:
    """Forget that a field may be missing."""
    assert json_object(raw, what="it").get("size", 3) is not None


def trusting(raw: bytes) -> None:
    """Believe a size that a peer sent."""
    size = Fields(json_object(raw, what="it"), owner="it").whole("size", most=2**31)
    bytearray(min(size, 8 << 20))


def slow(raw: bytes) -> None:
    """Take very long for a rare input."""
    if b"null" in raw:
        end = time.process_time() + SLOW_S
        while time.process_time() < end:
            pass


def untyped(raw: bytes) -> None:
    """Raise what is not documented, a few checks deep."""
    fields = Fields(json_object(raw, what="it"), owner="it")
    if fields.whole("size", most=300) > 250:
        raise KeyError("size")


def target_of(entry: Callable[[bytes], object]) -> Target:
    return Target("planted", "none", (GOOD,), always(entry), shape=JSON)


PLANTED: dict[str, tuple[Callable[[bytes], object], str]] = {
    "an assertion that does not hold": (forgetful, "AssertionError"),
    "memory by a number of the peer's": (trusting, "memory"),
    "time": (slow, "slow"),
    "another exception": (untyped, "KeyError"),
}


INPUTS = defaultdict(lambda: 3000, slow=200)


@pytest.mark.parametrize(("entry", "kind"), PLANTED.values(), ids=list(PLANTED))
def test_a_planted_defect_is_found(entry: Callable[[bytes], object], kind: str) -> None:
    slow_s = SLOW_S if kind == "slow" else 10.0
    outcome = Campaign(target_of(entry), seed="0", slow_s=slow_s).run(INPUTS[kind])
    assert [finding.kind for finding in outcome.findings] == [kind]
    found = bytes.fromhex(outcome.findings[0].input)
    if kind.endswith("Error"):
        with pytest.raises((KeyError, AssertionError)):
            entry(found)


def test_the_same_seed_gives_the_same_inputs() -> None:
    def inputs(seed: str) -> list[bytes]:
        met: list[bytes] = []
        Campaign(target_of(met.append), seed=seed).run(200)
        return met

    assert inputs("0") == inputs("0")
    assert inputs("0") != inputs("1")
    assert inputs("0")[0] == GOOD


def test_inputs_that_get_further_are_mutated_further() -> None:
    """Three fields one after the other: no single mutation gets to the last one."""

    def deep(raw: bytes) -> None:
        fields = Fields(json_object(raw, what="it"), owner="it")
        for name in ("size", "size", "extra"):
            fields.whole(name, most=10)
        if fields.whole("size") == 2 != fields.whole("extra"):
            raise ZeroDivisionError

    outcome = Campaign(target_of(deep), seed="0").run(4000)
    assert [finding.kind for finding in outcome.findings] == ["ZeroDivisionError"]


def test_outcomes_add_up() -> None:
    total = Outcome("planted")
    for seed in ("0", "1"):
        total.add(Campaign(target_of(untyped), seed=seed).run(1000))
    assert total.inputs == 2000
    assert total.accepted + sum(total.refusals.values()) == 2000
    assert total.refusals["DecodeError"] > 0
    assert total.findings[0].kind == "KeyError"


def test_what_lost_its_shape_is_mutated_all_the_same() -> None:
    seeds = (b"no frame",)
    met: list[bytes] = []

    def entry(raw: bytes) -> None:
        met.append(raw)
        raise DecodeError("no")

    target = Target("shapeless", "none", seeds, always(entry), shape=FRAME)
    Campaign(target, seed="0").run(100)
    assert len(set(met)) > 60
