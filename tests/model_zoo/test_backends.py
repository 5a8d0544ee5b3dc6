"""The emitted graphs compute what the oracle computes, for every kind of layer.

A case is converted once, where a test asks for it: of one file for all cases, which
takes longer than a file for each, every worker would make its own.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from model_zoo import onnx_backend, tflite_backend
from model_zoo.graphs import Graph, graphs
from model_zoo.model import Model
from model_zoo.runners import (
    Runner,
    litert,
    onnx_runtime,
    oracle,
    tflite_operators,
)
from model_zoo.stepping import Settings, evaluate, named, train
from tests.model_zoo.cases import CASES, batches_of, distance, params_of

SETTINGS = Settings(learning_rate=0.05, momentum=0.9, mu=0.1)
RUNNERS = {"litert": litert, "onnxruntime": onnx_runtime}


Folders = Callable[[str], Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Build the artifact of a case when a test first asks for it."""

    @functools.cache
    def folder_of(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        emitted = graphs(CASES[name])
        (folder / "model.tflite").write_bytes(tflite_backend.emit(emitted))
        for graph in emitted:
            (folder / f"{graph.name}.onnx").write_bytes(onnx_backend.emit(graph))
        return folder

    return folder_of


QUICK = {
    *("dense", "reconstruction", "depthwise_same_stride"),
    *("dropout", "group_norm_signal"),
}
"""Each conversion takes seconds; the slow tests convert every case."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
        for name in CASES
    ],
)
def test_litert_agrees_with_the_oracle(name: str, folders: Folders) -> None:
    model, folder = CASES[name], folders(name)
    _agree(model, litert(folder), oracle(model))
    foreign = [name for name in tflite_operators(folder) if name.startswith("CUSTOM")]
    assert not foreign


@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_agrees_with_the_oracle(name: str, tmp_path: Path) -> None:
    model = CASES[name]
    for graph in graphs(model):
        (tmp_path / f"{graph.name}.onnx").write_bytes(onnx_backend.emit(graph))
    _agree(model, onnx_runtime(tmp_path), oracle(model))


def _agree(model: Model, run: Runner, truth: Runner) -> None:
    params = params_of(model, seed=1)
    batches = list(batches_of(model, seed=2, steps=3))
    mine = train(run, params, batches=batches, settings=SETTINGS.of(model))
    wanted = train(truth, params, batches=batches, settings=SETTINGS.of(model))
    assert mine.losses == pytest.approx(wanted.losses, rel=1e-4)
    assert distance(mine.params, wanted.params) < 2e-5
    assert distance(mine.state, wanted.state) < 1e-4
    assert evaluate(run, params, batch=batches[0]) == pytest.approx(
        evaluate(truth, params, batch=batches[0]), rel=1e-4
    )
    given = {**named("p", params), "x": batches[0].x}
    logits = truth("infer", given)["outputs"]
    assert np.allclose(run("infer", given)["outputs"], logits, atol=1e-4)


@pytest.mark.parametrize("runtime", RUNNERS)
def test_runtimes_ignore_padding_bit_for_bit(runtime: str, folders: Folders) -> None:
    model = CASES["group_norm_signal"]
    run = RUNNERS[runtime](folders("group_norm_signal"))
    params = params_of(model, seed=1)
    batch = next(batches_of(model, seed=2))
    w = batch.w.copy()
    w[-1] = 0
    other = batch.x.copy()
    other[-1] = -3
    padded = [replace(batch, w=w), replace(batch, w=w, x=other)]
    one, two = (
        train(run, params, batches=[b], settings=SETTINGS.of(model)) for b in padded
    )
    assert one.losses == two.losses
    assert distance(one.params, two.params) == 0


@pytest.mark.parametrize("runtime", RUNNERS)
def test_frozen_parameters_stay_on_every_runtime(
    runtime: str, folders: Folders
) -> None:
    model = CASES["frozen"]
    params = params_of(model, seed=1)
    batches = batches_of(model, seed=2, steps=4)
    run = RUNNERS[runtime](folders("frozen"))
    after = train(run, params, batches=batches, settings=SETTINGS.of(model)).params
    stayed = [np.array_equal(p, q) for p, q in zip(params, after, strict=True)]
    assert stayed == [not spec.trainable for spec in model.layout.specs]


def test_the_converter_folds_no_transpose_into_a_slower_product(
    folders: Folders,
) -> None:
    operators = tflite_operators(folders("conv2d_same_stride"))
    assert {"CONV_2D", "TRANSPOSE_CONV", "BATCH_MATMUL"} <= operators
    assert "FULLY_CONNECTED" not in operators
    assert "SIGN" in tflite_operators(folders("group_norm_signal"))


def test_onnx_files_are_standard_and_equal_every_time() -> None:
    for graph in graphs(CASES["conv1d_same"]):
        first, second = onnx_backend.emit(graph), onnx_backend.emit(graph)
        assert first == second
        file = onnx.load_from_string(first)
        assert [(entry.domain, entry.version) for entry in file.opset_import] == [
            ("", onnx_backend.OPSET)
        ]
        assert {node.domain for node in file.graph.node} == {""}


def test_graphs_keep_the_names_of_the_contract() -> None:
    model = CASES["dense"]
    train_graph, *_ = graphs(model)
    file = onnx.load_from_string(onnx_backend.emit(train_graph))
    assert [value.name for value in file.graph.input] == [
        *("p00", "p01", "s00", "s01", "a00", "a01"),
        *("x", "y", "w", "lr", "momentum", "mu"),
    ]
    assert [value.name for value in file.graph.output] == [
        *("loss", "new_p00", "new_p01", "new_s00", "new_s01")
    ]


def test_a_gradient_nobody_needs_is_not_emitted() -> None:
    def kinds(graph: Graph) -> list[str]:
        file = onnx.load_from_string(onnx_backend.emit(graph))
        return [node.op_type for node in file.graph.node]

    train_graph, *_ = graphs(CASES["conv2d_valid"])
    assert "ConvTranspose" not in kinds(train_graph)
    deeper, *_ = graphs(CASES["conv2d_valid_stride"])
    assert kinds(deeper).count("ConvTranspose") == 1
