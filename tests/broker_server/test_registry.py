"""Who can be invited."""

from dataclasses import replace

import pytest

from broker_server.registry import MAX_DEVICES, Registry
from wire_protocol.messages import CheckIn

PI = CheckIn(1, "litert 2.1", "tflite", ("uq", "f32"), 120)
HERE = Registry().checked_in("pi", PI).availability("pi", online=True)
FAMILIES = ("tflite", "onnx")

CASES: dict[str, tuple[Registry, bool]] = {
    "nobody": (Registry(), False),
    "online and checked in": (HERE, True),
    "the other order": (
        Registry().availability("pi", online=True).checked_in("pi", PI),
        True,
    ),
    "only checked in": (Registry().checked_in("pi", PI), False),
    "only online": (Registry().availability("pi", online=True), False),
    "gone": (HERE.availability("pi", online=False), False),
    "back, but not checked in again": (
        HERE.availability("pi", online=False).availability("pi", online=True),
        False,
    ),
    "another codec": (HERE.checked_in("pi", replace(PI, codecs=("f32",))), False),
    "another family": (HERE.checked_in("pi", replace(PI, family="other")), False),
    "excluded": (HERE.excluded("pi"), False),
    "excluded, the same check-in again": (
        HERE.excluded("pi").checked_in("pi", PI),
        False,
    ),
    "excluded, checked in anew": (
        HERE.excluded("pi").checked_in("pi", replace(PI, conn=2)),
        True,
    ),
    "excluded, restarted": (
        HERE.excluded("pi")
        .availability("pi", online=False)
        .availability("pi", online=True)
        .checked_in("pi", PI),
        True,
    ),
}


@pytest.mark.parametrize(("registry", "invited"), CASES.values(), ids=list(CASES))
def test_who_is_eligible(registry: Registry, invited: bool) -> None:
    eligible = registry.eligible(families=FAMILIES, codec="uq:2")
    assert eligible == (("pi",) if invited else ())


def test_a_busy_device_is_not_invited_where_late_updates_count() -> None:
    working = HERE.checked_in("pi", replace(PI, busy=7))
    assert working.busy == {"pi"}
    assert working.eligible(families=FAMILIES, codec="uq") == ()
    assert working.eligible(families=FAMILIES, codec="uq", late=False) == ("pi",)
    done = working.occupied({"pi", "nobody"}, busy=False)
    assert done.eligible(families=FAMILIES, codec="uq") == ("pi",)
    assert set(done.devices) == {"pi"}


@pytest.mark.parametrize(
    ("conn", "online"),
    [(1, True), (2, False), (3, False), (None, False)],
    ids=["an old one", "the current one", "a newer one", "one that does not say"],
)
def test_the_will_of_an_old_connection_is_no_news(
    conn: int | None, *, online: bool
) -> None:
    back = HERE.checked_in("pi", replace(PI, conn=2))
    after = back.availability("pi", online=False, conn=conn)
    assert (after.online == {"pi"}) is online


def test_who_is_locked_out_is_not_there_any_more() -> None:
    two = HERE.checked_in("b", PI).availability("b", online=True)
    left = two.without({"pi", "unheard-of"})
    assert left.online == {"b"}
    assert left.eligible(families=FAMILIES, codec="uq") == ("b",)


def test_invented_names_do_not_fill_the_memory() -> None:
    names = {f"d{i}": HERE.devices["pi"] for i in range(MAX_DEVICES)}
    full = Registry(names)
    assert len(full.availability("one-more", online=True).devices) == MAX_DEVICES
