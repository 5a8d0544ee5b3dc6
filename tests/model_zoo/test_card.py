"""Cards: what is committed is what would be rendered now, and reads right."""

import argparse
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_zoo import zoo
from model_zoo.card import Subject, render
from model_zoo.cards import CARD, about, card_of, table
from model_zoo.cli import add_commands
from model_zoo.data.catalog import SETS
from model_zoo.data.credits import CREDITS
from model_zoo.measured import MAX_BYTES, Measured, Memory, Quality
from model_zoo.recipe import Recipe
from wire_protocol.errors import ConfigError

DOCS = Path(__file__).parents[2] / "docs"
RECIPE = Recipe(
    data="digits",
    rounds=7,
    epochs=1,
    learning_rate=0.1,
    cohort=2,
    judging="unseen",
    target=0.8,
    chosen="other digits",
)
QUALITY = Quality(
    recipe=RECIPE,
    federated=(0.9, 0.8, 0.85),
    central=(0.95,),
    local=(0.5, 0.6, 0.4),
    bits_up=0.75,
    devices=6,
    local_devices=3,
    training_examples=1438,
    test_examples=359,
)
MEASURED = Measured({"unseen": QUALITY}, {"litert": Memory("2.3.0", 45.0, 50.5, 47.4)})


def subject(measured: Measured) -> Subject:
    return Subject(
        model=zoo.model("digits-mlp"),
        about="``digits-mlp``: a thing.\n\nTakes ``x``.",
        manifest=zoo.manifest("digits-mlp"),
        measured=measured,
        quantized=None,
        credit=CREDITS["digits"],
    )


@pytest.mark.parametrize("name", zoo.MODELS)
def test_the_committed_card_is_the_one_rendered_now(name: str) -> None:
    committed = (zoo.model_folder(name) / CARD).read_text(encoding="utf-8")
    assert committed == card_of(name), f"run: edgefed zoo card {name} --write"
    assert about(name)


def test_the_overview_is_the_one_rendered_now() -> None:
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    found = text.split("<!-- edgefed zoo card --table -->\n")[1].split("\n<!-- end")[0]
    assert found == table(), "put in what edgefed zoo card --table prints"


def test_every_key_of_a_recipe_is_documented() -> None:
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    assert [key.name for key in fields(Recipe) if f"`{key.name}`" not in text] == []


def test_a_card_tells_what_was_measured_and_how() -> None:
    card = render(subject(MEASURED))
    assert card.startswith("# digits-mlp\n\nA thing.\n\nTakes `x`.\n")
    for words in (
        "**0.850 (0.800 to 0.900)** | 0.950 | 0.500 (0.400 to 0.600)",
        "≥ 0.8 with every seed",
        "7 rounds with 2 of 6 devices in each, 1 local epoch",
        "a sample of 3 devices",
        "chosen on other digits",
        "| litert 2.3.0 | 45 MiB | 50 MiB | 47 MiB |",
        "--unseen",
        "Alpaydin",
    ):
        assert words in card


def test_a_missed_target_is_said() -> None:
    missed = replace(QUALITY, federated=(0.9, 0.79, 0.85))
    assert "≥ 0.8 missed" in render(subject(Measured({"unseen": missed}, {})))


def test_a_card_without_measurements_claims_none() -> None:
    card = render(subject(Measured()))
    assert "## Quality" not in card
    assert "## Memory" not in card


def test_measurements_survive_the_file() -> None:
    assert Measured.from_json(MEASURED.to_json(), source="x") == MEASURED


@given(raw=st.binary(max_size=80))
@example(b"[" * 100_000)
@example(b'{"format": 1, "quality": {"a": {"recipe": {}}}, "memory": {}}')
@example(
    b'{"format": 1, "quality": {}, "memory": {"a": {"version": 1, "floor_mib": []}}}'
)
@example(b'{"format": 2}')
@example(b" " * (MAX_BYTES + 1))
def test_a_damaged_file_is_an_error_that_names_it(raw: bytes) -> None:
    with pytest.raises(ConfigError, match=r"measured-x.*make bench-quality"):
        Measured.from_json(raw, source="measured-x")


def test_every_data_set_has_its_credit() -> None:
    assert set(CREDITS) == set(SETS)


def test_the_command_prints_the_card(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    args = parser.parse_args(["zoo", "card", "digits-mlp"])
    assert args.run(args) == 0
    assert capsys.readouterr().out == card_of("digits-mlp")
