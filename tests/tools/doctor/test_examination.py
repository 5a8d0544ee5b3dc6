"""No check ends the others, whatever it does."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from tools.doctor.examination import Check, examination, in_thread
from tools.doctor.findings import Finding, Verdict, failed, not_measured, ok
from wire_protocol.errors import ConfigError


def _raising(error: BaseException) -> Callable[[], Awaitable[Finding]]:
    async def examine() -> Finding:
        raise error

    return examine


def _giving(finding: Finding) -> Callable[[], Awaitable[Finding]]:
    async def examine() -> Finding:
        return finding

    return examine


def _examined(*checks: Check) -> dict[str, Finding]:
    async def run() -> dict[str, Finding]:
        return {one.check: one.finding async for one in examination(checks)}

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "found", "remedy"),
    [
        (ConfigError("no folder", remedy="make one"), "no folder", "make one"),
        (ConfigError("no folder"), "no folder", "report"),
        (PermissionError(13, "Permission denied", "/x"), "/x: Perm", "as the user"),
        (FileNotFoundError(2, "No such file", "/x"), "/x: No such", "correct its path"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero", "report"),
        (TimeoutError("slow"), "timed out", "report"),
    ],
    ids=["ours", "ours-bare", "closed", "missing", "defect", "another-timeout"],
)
def test_what_a_check_raises_is_a_finding_and_the_rest_goes_on(
    error: Exception, found: str, remedy: str
) -> None:
    findings = _examined(
        Check("bad", _raising(error)), Check("next", _giving(ok("fine")))
    )
    assert findings["bad"].verdict == "failed"
    assert found in findings["bad"].found
    assert remedy in findings["bad"].remedy
    assert findings["next"].verdict == "ok"


def test_a_disk_that_hangs_costs_only_its_own_time() -> None:
    never = threading.Event()
    hanging = Check(
        "disk", lambda: in_thread(lambda: ok(str(never.wait()))), timeout_s=0.05
    )
    findings = _examined(hanging, Check("next", _giving(ok("fine"))))
    never.set()
    assert findings["disk"].verdict == "failed"
    assert "no answer in 0.05 s" in findings["disk"].found
    assert findings["next"].verdict == "ok"


def test_what_a_thread_raises_is_raised() -> None:
    def refuse() -> Finding:
        raise ConfigError("not so", remedy="but so")

    assert _examined(Check("it", lambda: in_thread(refuse)))["it"].remedy == "but so"


@pytest.mark.parametrize(
    "before", [failed("broken", remedy="mend it"), not_measured("not here")]
)
def test_a_check_without_what_it_needs_is_not_made(before: Finding) -> None:
    findings = _examined(
        Check("way", _giving(before)),
        Check("goal", _raising(AssertionError("must not run")), needs=("way",)),
        Check("beyond", _raising(AssertionError("nor this")), needs=("goal",)),
    )
    assert findings["goal"].verdict == Verdict.NOT_MEASURED
    assert "'way'" in findings["goal"].found
    assert findings["beyond"].verdict == Verdict.NOT_MEASURED


def test_the_name_of_each_check_is_told_before_it_is_made() -> None:
    told: list[str] = []

    async def run() -> list[str]:
        checks = [Check(name, _giving(ok("fine"))) for name in ("one", "two")]
        return [one.check async for one in examination(checks, begun=told.append)]

    assert asyncio.run(run()) == told == ["one", "two"]
