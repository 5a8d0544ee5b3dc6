"""The units of systemd: what they start is there, and they stay confined.

systemd need not run for that; where ``systemd-analyze`` is missing, it is not asked.
"""

import os
import shlex
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from tools.cli import _parser

FOLDER = Path(__file__).parents[2] / "firmware_configs/systemd"
UNITS = sorted(FOLDER.glob("*.service"))
MOST_EXPOSED = {"agent": 15, "server": 12, "broker": 12}
"""In tenths of systemd's points, of which 100 is the worst; stated in the docs."""
SERVICES = Path("/usr/lib/systemd/system")

MEASURED_BY = 252
OTHERS = 5
"""What another version of systemd may find more, in tenths of points."""

every_unit = pytest.mark.parametrize("unit", UNITS, ids=[unit.stem for unit in UNITS])
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or not SERVICES.is_dir(),
    reason="systemd-analyze is not installed",
)


class Settings(RawConfigParser):
    """A unit's settings, names as they are written; the last of several counts."""

    def __init__(self, unit: Path) -> None:
        super().__init__(strict=False, interpolation=None, delimiters=("=",))
        self.read(unit)

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def analyzed(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_COLORS": "0", "LC_ALL": "C.UTF-8"},
    )


def test_every_part_has_a_unit() -> None:
    assert {unit.stem for unit in UNITS} == {f"edgefed-{one}" for one in MOST_EXPOSED}


@every_unit
def test_a_unit_starts_its_part_as_nobody_special(unit: Path) -> None:
    service = Settings(unit)["Service"]
    program, group, *words = shlex.split(service["ExecStart"])
    assert program == "/opt/edgefed/bin/edgefed"
    assert unit.stem == f"edgefed-{group}"
    assert words[0] == "run"
    assert callable(_parser(group).parse_args([group, *words]).run)
    assert service["User"] == service["Group"] == service["StateDirectory"] == "edgefed"
    assert service["UMask"] == "0077"
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "2 3"
    assert not service["CapabilityBoundingSet"]


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(SERVICES, root / SERVICES.relative_to("/"), symlinks=True)
    program = root / "opt/edgefed/bin/edgefed"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    installed = root / "etc/systemd/system"
    installed.mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(unit, installed)
    names = [unit.name for unit in UNITS]
    done = analyzed("verify", f"--root={root}", "--man=no", *names)
    # it ends with 0 even where it ignores a line that it does not know
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


@needs_systemd
@every_unit
def test_a_unit_is_no_more_exposed_than_the_documents_say(unit: Path) -> None:
    most = MOST_EXPOSED[unit.stem.removeprefix("edgefed-")]
    words = ("security", "--offline=true", "--no-pager", str(unit))
    same = int(analyzed("--version").stdout.split()[1]) == MEASURED_BY
    done = analyzed(*words, f"--threshold={most if same else most + OTHERS}")
    assert done.returncode == 0, done.stdout
    assert analyzed(*words, "--threshold=5").returncode != 0  # so it is one
    if same:
        assert f"exposure level for {unit.name}: {most / 10}" in done.stdout


def test_the_documents_state_the_exposure() -> None:
    text = (FOLDER.parents[1] / "docs/services.md").read_text(encoding="utf-8")
    row = " | ".join(str(most / 10) for most in MOST_EXPOSED.values())
    assert f"| {row} |" in text
