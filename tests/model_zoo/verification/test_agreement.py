"""Runtimes that round differ and pass; those that compute wrongly do not."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model_zoo.model import Model
from model_zoo.runners import Runner, oracle
from model_zoo.verification.agreement import LIMIT, agreement_checks
from model_zoo.verification.check import Check
from tests.model_zoo.cases import CASES
from wire_protocol.errors import TrainingError


def bent(model: Model, *, by: float) -> Runner:
    """Return a runtime whose every step scales the new parameters by ``1 + by``."""
    run = oracle(model, dtype=np.float32)

    def step(name: str, given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {
            key: (value * np.float32(1 + by)).astype(np.float32)
            if key.startswith("new_p")
            else value
            for key, value in run(name, given).items()
        }

    return step


def found(model: Model, runtimes: dict[str, Runner]) -> list[Check]:
    said: list[str] = []
    return list(agreement_checks(model, runtimes, steps=12, say=said.append))


@pytest.mark.parametrize("name", ["relu", "adam", "dropout", "embedding"])
def test_runtimes_that_round_agree(name: str) -> None:
    model = CASES[name]
    checks = found(model, {"a": oracle(model), "b": bent(model, by=1e-7)})
    assert [check for check in checks if not check.passed] == []
    assert [check.what for check in checks] == [
        "a and numpy after 10 steps",
        "b and numpy after 10 steps",
        "a and b after 12 steps",
    ]


@pytest.mark.parametrize("name", ["relu", "adam"])
def test_a_runtime_that_computes_wrongly_is_found(name: str) -> None:
    model = CASES[name]
    checks = found(model, {"a": oracle(model), "b": bent(model, by=1e-2)})
    failed = [check.what for check in checks if not check.passed]
    assert failed == ["b and numpy after 10 steps", "a and b after 12 steps"]
    # the limit came from starts that were nudged, and was not lowered by them
    assert all(check.limit >= LIMIT for check in checks)


def test_a_runtime_that_fails_is_a_finding() -> None:
    model = CASES["relu"]

    def broken(name: str, given: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        del given
        raise TrainingError(f"no kernel for {name}")

    checks = found(model, {"a": oracle(model), "b": broken})
    assert [(c.what, c.detail) for c in checks if not c.passed] == [
        ("failures of b", "no kernel for train")
    ]


def test_a_check_fails_on_what_is_no_number() -> None:
    assert not Check("odd", float("nan"), 1.0).passed
    assert Check("even", 1.0, 1.0).passed
