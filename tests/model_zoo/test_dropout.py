"""Dropout's masks: equal on every runtime, and without a pattern."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_zoo import onnx_backend, tflite_backend
from model_zoo.backend import Backend
from model_zoo.dropout import WORDS, drawn_words, dropout
from model_zoo.graphs import Graph, Port, Tensors
from model_zoo.layers import Draw
from model_zoo.numpy_backend import NumpyBackend
from model_zoo.residual import residual
from model_zoo.runners import Runner, litert, onnx_runtime, oracle
from model_zoo.stepping import Settings, train
from tests.model_zoo.cases import CASES, batches_of, distance, params_of
from wire_protocol.errors import ConfigError
from wire_protocol.step_inputs import MAX_SEED

ORACLE = NumpyBackend(np.float64)
SHAPE = (8, 5, 7)
seeds = st.integers(0, MAX_SEED - 1)


def mask(
    seed: int, *, rate: float, shape: tuple[int, ...] = SHAPE, place: int = 0
) -> NDArray[np.float64]:
    ones = np.ones(shape)
    draw = Draw(np.int32(seed), (place,))
    y, pullback = dropout(rate).apply(ORACLE, ones, params=(), seed=draw)
    assert np.array_equal(pullback(ones)[0], y)
    found: NDArray[np.float64] = y
    return found


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Runner]:
    def run(b: Backend, given: Tensors) -> dict[str, Any]:
        draw = Draw(given["seed"], (0,))
        y, _ = dropout(0.3).apply(b, given["x"], params=(), seed=draw)
        return {"y": y}

    folder = tmp_path_factory.mktemp("masks")
    inputs = (Port("x", SHAPE), Port("seed", (), "int32"))
    three = tuple(Graph(name, inputs, run) for name in ("train", "evaluate", "infer"))
    (folder / "model.tflite").write_bytes(tflite_backend.emit(three[:1]))
    for graph in three:
        (folder / f"{graph.name}.onnx").write_bytes(onnx_backend.emit(graph))
    return {"litert": litert(folder), "onnxruntime": onnx_runtime(folder)}


@settings(max_examples=50)
@given(seed=seeds)
def test_masks_are_equal_on_every_runtime_bit_for_bit(
    seed: int, runtimes: dict[str, Runner]
) -> None:
    wanted = mask(seed, rate=0.3).astype(np.float32)
    inputs = {"x": np.ones(SHAPE, np.float32), "seed": np.asarray(seed, np.int32)}
    for run in runtimes.values():
        assert np.array_equal(run("train", inputs)["y"], wanted)


@given(seed=seeds, rate=st.floats(0, 0.99))
def test_what_is_left_is_scaled_up(seed: int, rate: float) -> None:
    factor = WORDS / (WORDS - round(rate * WORDS))
    assert set(np.unique(mask(seed, rate=rate))) <= {0.0, factor}


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_share_dropped_is_the_rate(rate: float) -> None:
    masks = np.stack([mask(s, rate=rate, shape=(32, 100)) for s in range(100)])
    dropped = (masks == 0).mean()
    spread = np.sqrt(rate * (1 - rate) / masks.size)
    assert abs(dropped - rate) < 4 * spread + 1 / WORDS
    # rows and columns alike: no example and no channel is favoured
    for axis in (1, 2):
        z = ((masks == 0).mean(axis) - rate) / np.sqrt(
            rate * (1 - rate) / masks.shape[axis]
        )
        assert 0.9 < z.std() < 1.1


def test_words_show_no_pattern_in_place_or_time() -> None:
    drawn = [
        drawn_words(ORACLE, Draw(np.int32(seed), (3,)), count=64)
        for seed in range(2000)
    ]
    words = np.stack(drawn)
    assert words.min() >= 0
    assert words.max() < WORDS
    deviation = (words - (WORDS - 1) / 2) / np.sqrt(WORDS**2 / 12)
    for later in (1, 2, 7):
        along = (deviation[later:] * deviation[:-later]).mean(0)
        assert np.abs(along).max() * np.sqrt(len(words)) < 4.5
    beside = (deviation[:, 1:] * deviation[:, :-1]).mean(0)
    assert np.abs(beside).max() * np.sqrt(len(words)) < 4.5
    # neither the words nor what they change by favours a sixteenth of the circle
    for values in (words, np.diff(words, axis=0) % WORDS):
        parts = values.T.astype(int) // 256
        counts = np.stack([np.bincount(part, minlength=16) for part in parts])
        wanted = len(values) / 16
        chi_square = ((counts - wanted) ** 2 / wanted).sum(1)
        assert 12 < chi_square.mean() < 18  # 15 degrees of freedom


def test_four_corners_of_a_rectangle_are_independent() -> None:
    masks = np.stack([mask(s, rate=0.5, shape=(32, 64)) for s in range(200)]) - 1
    corners = masks[:, 1:, 1:] * masks[:, :-1, 1:] * masks[:, 1:, :-1]
    corners *= masks[:, :-1, :-1]
    assert abs(corners.mean()) * np.sqrt(corners.size) < 4


def test_steps_and_places_draw_differently() -> None:
    drawn = [
        mask(seed, rate=0.5, place=place).tobytes()
        for seed in range(5)
        for place in range(4)
    ]
    assert len(set(drawn)) == len(drawn)


def test_layers_inside_a_residual_draw_for_themselves() -> None:
    ones = np.ones((4, 50))
    block = residual(dropout(0.5), projection=dropout(0.5))
    assert block.seeded
    y, _ = block.apply(ORACLE, ones, params=(), seed=Draw(np.int32(1), (0,)))
    assert set(np.unique(y)) == {0.0, 2.0, 4.0}


def test_without_a_seed_nothing_is_dropped() -> None:
    x = np.random.default_rng(1).standard_normal(SHAPE)
    y, pullback = dropout(0.9).apply(ORACLE, x, params=(), seed=None)
    assert y is x
    assert pullback(x)[0] is x


def test_a_training_step_follows_its_seed() -> None:
    model = CASES["dropout"]
    assert model.seeded
    params = params_of(model, seed=1)
    batches = list(batches_of(model, seed=2, steps=2))

    def trained(seed: int) -> list[NDArray[Any]]:
        given = Settings(0.1, optimizer=model.optimizer, seed=seed)
        return train(oracle(model), params, batches=batches, settings=given).params

    assert distance(trained(3), trained(3)) == 0
    assert distance(trained(3), trained(4)) > 1e-3


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="at least 0 and below 1"):
        dropout(rate)
