"""What is thought of identities: a case for every verdict and remedy."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.tools.doctor.verdict_cases import Case
from tools.doctor.identity_verdicts import (
    FleetFacts,
    IdentityFacts,
    Modes,
    judge_fleet,
    judge_identity,
    judge_password,
)
from tools.doctor.machine_verdicts import BUILT

NOW = BUILT + 1e8
DAY = 86_400
FOLDER = Path("/i")
KEY = FOLDER / "device.key"
MODES = Modes(FOLDER, 0o700, {KEY: 0o600})
DEVICE = IdentityFacts(
    modes=MODES,
    member=("home", "kitchen"),
    configured=("home", "kitchen"),
    certified="kitchen",
    ends=NOW + 90 * DAY,
    our_key=True,
    by_authority=True,
)
FLEET = FleetFacts(
    modes=MODES,
    fleet="home",
    configured="home",
    ends={"server": NOW + 900 * DAY, "broker": NOW + 800 * DAY},
    members=3,
    revoked=1,
    ending=(),
    claims=1,
)


def _device(*, now: float = NOW, **changes: object) -> object:
    return judge_identity(replace(DEVICE, **changes), now=now)  # type: ignore[arg-type]


def _fleet(*, now: float = NOW, **changes: object) -> object:
    return judge_fleet(replace(FLEET, **changes), now=now)  # type: ignore[arg-type]


def _case(name: str, finding: object, *expected: str) -> Case:
    return Case(name, finding, *expected)  # type: ignore[arg-type]


CASES = [
    _case("device", _device(), "ok", "kitchen of fleet home, certificate until 2027"),
    _case(
        "device-key-open",
        _device(modes=Modes(FOLDER, 0o700, {KEY: 0o640})),
        "failed",
        "others may read /i/device.key (mode 640)",
        "chmod 600 /i/device.key",
    ),
    _case(
        "device-folder-open",
        _device(modes=Modes(FOLDER, 0o755, {KEY: 0o600})),
        "failed",
        "look into /i (mode 755)",
        "chmod 700 /i",
    ),
    _case(
        "device-of-another-name",
        _device(member=("home", "hall")),
        "failed",
        "is of 'hall' in fleet 'home', the configuration says 'kitchen'",
        'device = "hall"',
    ),
    _case(
        "device-certified-otherwise",
        _device(certified="hall"),
        "failed",
        "is for 'hall', not 'kitchen'",
        "edgefed agent join",
    ),
    _case(
        "device-foreign-key",
        _device(our_key=False),
        "failed",
        "not of this device's key",
        "edgefed agent join",
    ),
    _case(
        "device-foreign-authority",
        _device(by_authority=False),
        "failed",
        "not by the fleet's authority",
        "edgefed agent join",
    ),
    _case(
        "device-ended",
        _device(ends=NOW - DAY),
        "failed",
        "the certificate ended on",
        "edgefed agent join",
    ),
    _case(
        "device-ends",
        _device(ends=NOW + 3 * DAY),
        "warning",
        "3.0 days are left, and it was not renewed",
        "server renews by itself",
    ),
    _case("device-1970", _device(now=5.0), "ok", "the clock cannot tell how long"),
    _case("fleet", _fleet(), "ok", "fleet home: 3 members, 1 revoked, 1 open token"),
    _case(
        "fleet-key-open",
        _fleet(modes=Modes(FOLDER, 0o700, {FOLDER / "authority.key": 0o644})),
        "failed",
        "others may read",
        "chmod 600",
    ),
    _case(
        "fleet-of-another-name",
        _fleet(configured="work"),
        "failed",
        "is of fleet 'home', not 'work'",
        "[server] fleet",
    ),
    _case(
        "fleet-without-list",
        _fleet(listed=False),
        "failed",
        "revoked.crl",
        "edgefed devices revoke",
    ),
    _case(
        "fleet-ended",
        _fleet(ends={"server": NOW + 900 * DAY, "broker": NOW - DAY}),
        "failed",
        "the broker's certificate ended on",
        "edgefed fleet renew",
    ),
    _case(
        "fleet-ends",
        _fleet(ends={"server": NOW + 20 * DAY, "broker": NOW + 800 * DAY}),
        "warning",
        "the server's certificate ends on",
        "edgefed fleet renew",
    ),
    _case(
        "fleet-members-end",
        _fleet(ending=("hall", "porch")),
        "warning",
        "hall, porch end within a week",
        "renews them",
    ),
    _case("fleet-1970", _fleet(now=5.0), "ok", "the clock cannot tell"),
    _case(
        "password",
        judge_password(Path("/p"), 0o600),
        "ok",
        "/p is for its owner only",
    ),
    _case(
        "password-open",
        judge_password(Path("/p"), 0o644),
        "failed",
        "(mode 644)",
        "chmod 600 /p",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_facts_have_their_verdict_and_remedy(case: Case) -> None:
    case.hold()
