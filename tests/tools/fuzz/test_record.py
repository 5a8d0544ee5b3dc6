"""A run is recorded in the document, and twice is once."""

from collections import Counter

from tools.fuzz.campaign import Finding, Outcome
from tools.fuzz.record import BEGIN, END, plain, recorded, table
from tools.fuzz.runs import SLICE, slices
from tools.fuzz.targets import TARGETS, target_named

OUTCOMES = [
    Outcome(
        "manifest",
        inputs=1200,
        accepted=200,
        refusals=Counter(DecodeError=1000),
        places=7,
        peak_bytes=2048,
        slowest_s=0.004,
    ),
    Outcome("topics", inputs=5, findings=[Finding("slow", "2.5 s", "00")]),
]


def test_a_run_is_a_table_with_a_line_for_each_target() -> None:
    text = table(plain(OUTCOMES, seconds=3.2, seed=7))
    assert text.startswith("1,205 inputs in 3 s, seed 7,")
    assert ": 1 defects." in text
    row = "| manifests | manifest | 1,200 | 200 | `DecodeError` 1,000 | 7 | 2 | 4 |"
    assert row in text.splitlines()
    assert "By group: manifests 1,200, topics 5." in text


def test_a_record_takes_the_place_of_the_one_before() -> None:
    run = plain(OUTCOMES, seconds=3.2, seed=7)
    first = recorded(f"# Fuzzing\n\n{BEGIN}old\n{END}\nMore.\n", run)
    assert recorded(first, run) == first
    assert first.startswith("# Fuzzing\n")
    assert first.endswith("\nMore.\n")
    assert "old" not in first


def test_slices_share_the_inputs_out_and_differ_in_their_seeds() -> None:
    targets = [target_named("manifest"), target_named("topics")]
    planned = slices(targets, inputs=SLICE, seed=3)
    assert sum(one.inputs for one in planned) == sum(
        round(SLICE * one.share) for one in targets
    )
    assert len({one.seed for one in planned}) == len(planned) > 2
    assert max(one.inputs for one in planned) == SLICE


def test_a_full_run_is_of_a_million_inputs_and_100_000_of_every_group() -> None:
    from tools.fuzz.__main__ import INPUTS  # noqa: PLC0415 - a command, not a library

    sums: Counter[str] = Counter()
    for target in TARGETS:
        sums[target.group] += round(INPUTS * target.share)
    assert sum(sums.values()) >= 1_000_000
    assert min(sums.values()) >= 100_000, sums
