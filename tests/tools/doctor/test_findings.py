"""Findings have a remedy where one is needed, and fit their schema."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.doctor.findings import Entry, Finding, Verdict, exit_code, to_json
from tools.doctor.report import rendered

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "docs/doctor.schema.json").read_text(encoding="utf-8")
)
VALUES = st.none() | st.booleans() | st.integers() | st.just("5") | st.floats(0, 1e9)
FINDINGS = st.builds(
    Finding,
    verdict=st.sampled_from(Verdict),
    found=st.just("12 of them"),
    remedy=st.just("do it"),
    measured=st.dictionaries(st.sampled_from(["a_ms", "b"]), VALUES),
)
ENTRIES = st.lists(
    st.builds(Entry, st.sampled_from(["disk", "mqtt"]), FINDINGS),
    min_size=1,
    max_size=4,
)


@given(st.lists(st.sampled_from(Verdict)))
def test_only_what_failed_makes_the_exit_code_one(verdicts: list[Verdict]) -> None:
    findings = [Finding(verdict, "found", "remedy") for verdict in verdicts]
    assert exit_code(findings) == (1 if Verdict.FAILED in verdicts else 0)


@settings(max_examples=25)
@given(st.sampled_from(["device", "server"]), ENTRIES)
def test_every_report_fits_its_schema(side: str, entries: list[Entry]) -> None:
    report = json.loads(json.dumps(to_json(side, entries)))
    jsonschema.validate(report, SCHEMA)
    assert sum(report["counts"].values()) == len(entries)


@pytest.mark.parametrize("verdict", [Verdict.WARNING, Verdict.FAILED])
def test_what_is_not_in_order_has_a_remedy(verdict: Verdict) -> None:
    with pytest.raises(AssertionError):
        Finding(verdict, "something is wrong")


def test_a_remedy_is_printed_in_one_line_so_that_it_can_be_copied() -> None:
    remedy = "sudo something " + "and more " * 30
    entry = Entry("disk", Finding(Verdict.FAILED, "it is full " * 20, remedy))
    lines = rendered(entry, width=80).splitlines()
    assert lines[0].startswith("failed        disk            it is full")
    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[-1].endswith("-> " + remedy)
