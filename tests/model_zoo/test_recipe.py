"""Recipes: what stands in them is taken, what is wrong is named, and nothing else."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_zoo import zoo
from model_zoo.data.catalog import SETS
from model_zoo.recipe import FILE, MAX_RECIPE_BYTES, parse_recipes, read_recipes
from wire_protocol.errors import ConfigError

GOOD = """
[unseen]
data = "digits"
rounds = 3
epochs = 2
learning_rate = 0.1
"""


def test_experiments_keep_their_order_and_the_rest_is_as_the_server_has_it() -> None:
    recipes = parse_recipes(
        (GOOD + GOOD.replace("unseen", "mixed")).encode(), source="x"
    )
    assert list(recipes) == ["unseen", "mixed"]
    assert recipes["mixed"].rounds == 3
    assert (recipes["mixed"].optimizer, recipes["mixed"].beta) == ("fedavgm", 0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("rounds = 3", "rounds = 0"), "rounds must be 1 to"),
        (("rounds = 3", "round = 3"), "did you mean 'rounds'"),
        (("epochs = 2", 'codec = "zip"\nepochs = 2'), "codec"),
        (("epochs = 2", 'partition = "odd"\nepochs = 2'), "no partition"),
        (("[unseen]", "target = 1\n[unseen]"), "outside of every table"),
        (("[unseen]", "[unseen"), "not TOML"),
        ((GOOD, ""), "no experiment"),
        ((GOOD, "#" * (MAX_RECIPE_BYTES + 1)), "short TOML"),
    ],
)
def test_a_wrong_recipe_is_told_from_its_words(
    change: tuple[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match="recipe-x") as caught:
        parse_recipes(GOOD.replace(*change).encode(), source="recipe-x")
    assert words in str(caught.value)


@given(raw=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@example(b"[a]\n[a.b]")
@example(b"a = " + b"[" * 3000)
def test_whatever_is_read_is_recipes_or_an_error(raw: bytes) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_recipes(raw, source="x")


@pytest.mark.parametrize("name", zoo.MODELS)
def test_the_recipe_of_a_model_fits_it(name: str) -> None:
    for recipe in read_recipes(zoo.model_folder(name) / FILE).values():
        assert recipe.data in SETS
        assert recipe.chosen, "say on what the settings were chosen"
