"""Measuring quality: which cells there are, what is kept of them, what is shown."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_zoo import zoo
from model_zoo.metrics import METRICS
from model_zoo.recipe import Recipe
from tools.quality.cells import (
    KINDS,
    Cell,
    Outcome,
    fingerprint,
    missing_cells,
    wanted_cells,
)
from tools.quality.experiment import run_cell
from tools.quality.recording import quality_of
from tools.quality.results import FILE, Results
from tools.quality.summary import Summary, lines, spread
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import FileRef

RECIPE = Recipe(
    data="digits",
    partition="iid",
    devices=5,
    cohort=3,
    rounds=4,
    epochs=1,
    learning_rate=0.05,
    central_epochs=2,
    local_epochs=2,
    local_devices=2,
    runtime="litert",
    target=0.5,
)
RECIPES = {"digits-mlp": {"mixed": RECIPE, "other": RECIPE}, "har-cnn1d": {"a": RECIPE}}
OUTCOME = Outcome(
    quality=0.9,
    curve=((2, 0.5), (4, 0.9)),
    alone=(),
    bits_up=1.1,
    devices=5,
    training_examples=1438,
    test_examples=359,
    parameters=13_098,
    seconds=1.5,
    fingerprint="f",
)


def test_a_cell_is_a_seed_of_a_way_of_training_of_an_experiment() -> None:
    cells = wanted_cells(RECIPES, seeds=2, only=[])
    assert len(cells) == len({cell.key for cell in cells}) == 3 * 2 * len(KINDS)


@pytest.mark.parametrize(
    ("only", "count"),
    [
        (["har-cnn1d"], 6),
        (["digits-mlp/other"], 6),
        (["digits-mlp/other/1"], 3),
        (["digits-mlp/other/1/local"], 1),
        (["digits-mlp", "digits-mlp/other"], 12),
    ],
)
def test_only_narrows_the_cells_at_every_level(only: list[str], count: int) -> None:
    assert len(wanted_cells(RECIPES, seeds=2, only=only)) == count


@pytest.mark.parametrize("name", ["digits", "digits-mlp/x", "digits-mlp/mixed/7"])
def test_a_name_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        wanted_cells(RECIPES, seeds=2, only=["har-cnn1d", name])


@pytest.mark.parametrize(
    ("change", "concerned"),
    [
        ({"rounds": 5}, {"federated"}),
        ({"codec": "f32"}, {"federated"}),
        ({"central_epochs": 5}, {"central"}),
        ({"local_epochs": 5}, {"local"}),
        ({"learning_rate": 0.1}, set(KINDS)),
        ({"judging": "unseen"}, set(KINDS)),
        ({"target": 0.9, "chosen": "luck"}, set()),
    ],
)
def test_a_setting_makes_those_cells_old_that_it_concerns(
    change: dict[str, object], concerned: set[str]
) -> None:
    manifest = zoo.manifest("digits-mlp")
    changed = replace(RECIPE, **change)  # type: ignore[arg-type]
    found = {
        kind
        for kind in KINDS
        if fingerprint(kind, RECIPE, manifest) != fingerprint(kind, changed, manifest)
    }
    assert found == concerned


def test_another_definition_makes_cells_old_and_another_kernel_does_not() -> None:
    manifest = zoo.manifest("digits-mlp")
    test = manifest.selftest
    first, *others = test.losses
    for losses, same in (((first * 1.01, *others), False), ((first, *others), True)):
        other = replace(
            manifest,
            files={name: FileRef(7, "0" * 64) for name in manifest.files},
            selftest=replace(test, losses=tuple(losses)),
        )
        found = fingerprint("local", RECIPE, other)
        assert (found == fingerprint("local", RECIPE, manifest)) is same


def test_finished_cells_are_kept_and_are_not_run_again(tmp_path: Path) -> None:
    cells = wanted_cells(RECIPES, seeds=1, only=["har-cnn1d"])
    prints = dict.fromkeys(cells, "f")
    results = Results(tmp_path / "new" / "folder")
    assert missing_cells(cells, results(), prints) == cells
    results.add(cells[1], OUTCOME)
    again = Results(tmp_path / "new" / "folder")
    assert again()[cells[1].key] == OUTCOME
    assert missing_cells(cells, again(), prints) == [cells[0], cells[2]]
    assert missing_cells(cells, again(), dict.fromkeys(cells, "g")) == cells


@given(raw=st.binary(max_size=60).filter(lambda raw: b"}" not in raw))
@example(b"[]")
@example(b"[" * 100_000)
@example(b'{"a": {}}')
@example(b'{"a": {"quality": 1}}')
@example(b'{"a": null}')
def test_a_damaged_file_of_results_is_named(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    folder = tmp_path_factory.mktemp("quality")
    (folder / FILE).write_bytes(raw)
    with pytest.raises(ConfigError, match=r"results\.json"):
        Results(folder)


def summary(outcomes: Mapping[str, tuple[float, ...]], **changes: object) -> Summary:
    return Summary(
        "digits-mlp",
        "mixed",
        replace(RECIPE, **changes),  # type: ignore[arg-type]
        METRICS["classification"],
        {
            kind: tuple(
                replace(OUTCOME, quality=value, alone=(value, value))
                for value in outcomes.get(kind, ())
            )
            for kind in KINDS
        },
    )


WHOLE = {"federated": (0.9, 0.5, 0.7), "central": (0.95,) * 3, "local": (0.3,) * 3}


def test_the_table_has_medians_ranges_and_what_is_a_sample() -> None:
    head, row, note = lines([summary(WHOLE)])
    assert head.split()[-1] == "target"
    for words in ("0.700 (0.500-0.900)", "0.950", "0.300*", ">= 0.5 met"):
        assert words in row
    assert "2 of 5 devices" in note


@pytest.mark.parametrize(("target", "met"), [(0.5, True), (0.51, False), (None, True)])
def test_a_target_is_met_by_every_seed_or_not_at_all(
    target: float | None, met: bool
) -> None:
    assert summary(WHOLE, target=target).met is met


def test_what_is_not_measured_is_not_shown_and_not_complete() -> None:
    half = summary({**WHOLE, "local": (0.3,)})
    assert not half.complete
    assert summary(WHOLE).complete
    assert not summary({}).complete
    assert spread([]) == "-"


def test_what_is_recorded_is_what_was_measured() -> None:
    recorded = quality_of(summary(WHOLE))
    assert recorded.federated == (0.9, 0.5, 0.7)
    assert (recorded.devices, recorded.local_devices) == (5, 2)
    assert recorded.recipe == RECIPE


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_learns_digits_and_is_the_same_again(kind: str) -> None:
    cell = Cell("digits-mlp", "mixed", 1, kind)  # type: ignore[arg-type]
    told: list[str] = []
    one, other = (
        run_cell(cell, RECIPE, environ={}, clock=iter([0.0, 2.5]).__next__, progress=p)
        for p in (told.append, lambda _: None)
    )
    assert one == other
    assert one.quality > 0.6
    assert one.seconds == 2.5
    assert told
    assert (len(one.curve), len(one.alone)) == {
        "federated": (4, 0),
        "central": (0, 0),
        "local": (0, 2),
    }[kind]
    assert Outcome.from_json(json.loads(json.dumps(asdict(one)))) == one
