"""Judges: anomaly scores of whole and partly filled batches; models that do not fit."""

from dataclasses import replace

import numpy as np
import pytest

from model_zoo import zoo
from model_zoo.data.dataset import Dataset
from model_zoo.layers import dense, relu
from model_zoo.model import Model, PlanDefaults
from model_zoo.runners import oracle
from tools.judging import anomaly_scores, check_fit
from wire_protocol.errors import ConfigError
from wire_protocol.manifest import Manifest
from wire_protocol.params import Vector

FOLDING = Model(
    name="folding",
    data="none",
    input_shape=(6,),
    outputs=6,
    batch=4,
    layers=(dense(3), relu(), dense(6)),
    plan=PlanDefaults(1, 1, 0.1, 0.9),
    task="reconstruction",
)
MANIFEST: Manifest = replace(
    zoo.manifest("digits-mlp"),
    task="reconstruction",
    input_shape=(6,),
    outputs=6,
    batch=4,
    labels=(),
    layout=FOLDING.layout,
    selftest=replace(zoo.manifest("digits-mlp").selftest, norms=(1.0,) * 4),
)


@pytest.mark.parametrize("count", [1, 4, 11])
def test_a_score_is_the_squared_error_whatever_shares_its_batch(count: int) -> None:
    rng = np.random.default_rng(2)
    params = FOLDING.layout.initial(rng)
    x = rng.normal(size=(count, 6)).astype(np.float32)
    scores = anomaly_scores(oracle(FOLDING), x, params=params, manifest=MANIFEST)
    first, first_bias, second, second_bias = FOLDING.layout.split(params)
    hidden: Vector = np.maximum(x @ first + first_bias, 0)
    errors = hidden @ second + second_bias - x
    np.testing.assert_allclose(scores, (errors**2).mean(1), rtol=1e-4)


def digits_like(**changes: object) -> Dataset:
    rows: dict[str, object] = {
        "name": "likeness",
        "x": np.zeros((4, 64), np.float32),
        "y": np.arange(4, dtype=np.int32),
        "classes": tuple("0123456789"),
        **changes,
    }
    return Dataset(**rows)  # type: ignore[arg-type]


def test_a_data_set_of_the_models_form_fits() -> None:
    check_fit(digits_like(), zoo.manifest("digits-mlp"), remedy="none")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": np.zeros((4, 32), np.float32)}, r"is classification of \[32\]"),
        ({"classes": tuple("01234")}, "in 5 classes"),
        (
            {"y": np.zeros((4, 2), np.float32), "classes": (), "task": "regression"},
            "regression of .* in 2 outputs",
        ),
    ],
)
def test_another_form_is_refused_in_words(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        check_fit(
            digits_like(**changes), zoo.manifest("digits-mlp"), remedy="look elsewhere"
        )
    assert caught.value.remedy == "look elsewhere"
