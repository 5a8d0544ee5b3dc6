"""The emitted graphs compute what the oracle computes, for every kind of layer.

All TFLite cases share one conversion, each as signatures of one file: a conversion of
its own for each would cost seconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from model_zoo import onnx_backend, tflite_backend
from model_zoo.graphs import Graph, graphs
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


@pytest.fixture(scope="module")
def tflite_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tflite")
    renamed = tuple(
        replace(graph, name=f"{name}.{graph.name}")
        for name, model in CASES.items()
        for graph in graphs(model)
    )
    (folder / "model.tflite").write_bytes(tflite_backend.emit(renamed))
    return folder


@pytest.fixture(scope="module")
def runners(
    tflite_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Runner]:
    on_litert = litert(tflite_folder)

    def one_case(name: str, runtime: str) -> Runner:
        if runtime == "litert":

            def run(
                graph: str, given: Mapping[str, NDArray[Any]]
            ) -> dict[str, NDArray[Any]]:
                return on_litert(f"{name}.{graph}", given)

            return run
        folder = tmp_path_factory.mktemp(name)
        for graph in graphs(CASES[name]):
            (folder / f"{graph.name}.onnx").write_bytes(onnx_backend.emit(graph))
        return onnx_runtime(folder)

    return one_case


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime"])
@pytest.mark.parametrize("name", CASES)
def test_runtimes_agree_with_the_oracle(
    name: str, runtime: str, runners: Callable[[str, str], Runner]
) -> None:
    model = CASES[name]
    run, truth = runners(name, runtime), oracle(model)
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


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime"])
def test_runtimes_ignore_padding_bit_for_bit(
    runtime: str, runners: Callable[[str, str], Runner]
) -> None:
    model = CASES["group_norm_signal"]
    run, params = runners("group_norm_signal", runtime), params_of(model, seed=1)
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


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime"])
def test_frozen_parameters_stay_on_every_runtime(
    runtime: str, runners: Callable[[str, str], Runner]
) -> None:
    model = CASES["frozen"]
    params = params_of(model, seed=1)
    batches = batches_of(model, seed=2, steps=4)
    run = runners("frozen", runtime)
    after = train(run, params, batches=batches, settings=SETTINGS.of(model)).params
    stayed = [np.array_equal(p, q) for p, q in zip(params, after, strict=True)]
    assert stayed == [not spec.trainable for spec in model.layout.specs]


def test_tflite_files_hold_builtin_operators_only(tflite_folder: Path) -> None:
    operators = tflite_operators(tflite_folder)
    assert not [name for name in operators if name.startswith("CUSTOM")]
    assert {"CONV_2D", "TRANSPOSE_CONV", "BATCH_MATMUL", "SIGN"} <= operators
    # FULLY_CONNECTED would mean the converter folded a transpose after all.
    assert "FULLY_CONNECTED" not in operators


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
