"""An audit is believed only if its service knows what it must know."""

import json
import stat
from pathlib import Path

import pytest

from tools.audit import CANARY, Report, ask, main, verdict
from wire_protocol.errors import DecodeError, TransportError

CLEAN = {"name": "numpy", "version": "2.1", "vulns": []}
BAD = {"name": "old", "version": "1", "vulns": [{"id": "CVE-1"}, {"id": "CVE-2"}]}
SKIPPED = {"name": "numpy", "skip_reason": "numpy was not found"}
OURS = {"name": "edgefed", "skip_reason": "distribution marked as editable"}


def said(*packages: object) -> bytes:
    return json.dumps({"dependencies": packages, "fixes": []}).encode()


KNOWS = Report.from_json(said(BAD))


def test_what_was_found_is_named() -> None:
    report = Report.from_json(said(CLEAN, BAD, OURS))
    assert report == Report(("numpy 2.1",), (), ("old 1: CVE-1, CVE-2",))
    assert verdict(report, KNOWS) == (1, "vulnerable:\nold 1: CVE-1, CVE-2")


def test_all_clean_is_clean() -> None:
    report = Report.from_json(said(CLEAN, OURS))
    assert verdict(report, KNOWS) == (0, "1 packages, no known vulnerability")


def test_a_package_that_was_skipped_is_no_clean_one() -> None:
    with pytest.raises(TransportError, match="numpy was not found"):
        verdict(Report.from_json(said(SKIPPED)), KNOWS)


@pytest.mark.parametrize("canary", [said(CLEAN), said(SKIPPED), said()])
def test_a_service_that_knows_nothing_is_not_believed(canary: bytes) -> None:
    """A mirror answers "not found" for everything, and pip-audit calls that clean."""
    with pytest.raises(TransportError, match="could not be asked") as caught:
        verdict(Report.from_json(said(CLEAN)), Report.from_json(canary))
    assert CANARY in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", said({"name": "x"})])
def test_anything_else_is_no_report(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        Report.from_json(raw)


def tool(folder: Path, *, script: str) -> Path:
    """Write a program that behaves as pip-audit does."""
    path = folder / "pip-audit"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


FINDS = """\
while [ $# -gt 0 ]; do
    [ "$1" = --output ] && out=$2
    [ "$1" = --requirement ] && canary=1
    shift
done
if [ "$canary" ]; then
    printf '{"dependencies": [{"name": "u", "version": "1", "vulns": [{"id": "C"}]}]}'
    exit_code=1
else
    printf '{"dependencies": [{"name": "n", "version": "2", "vulns": []}]}'
fi > "$out"
exit ${exit_code:-0}
"""


def test_findings_and_failures_are_told_apart_though_both_end_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--tool", str(tool(tmp_path, script=FINDS))]) == 0
    assert capsys.readouterr().out == "1 packages, no known vulnerability\n"
    failing = tool(tmp_path, script="echo 'no such host' >&2; exit 1")
    assert main(["--tool", str(failing)]) == 4
    assert "no such host - run this with a connection" in capsys.readouterr().err
    with pytest.raises(TransportError, match="it says nothing"):
        ask(tool(tmp_path, script="exit 1"))
