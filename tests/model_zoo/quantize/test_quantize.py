"""The command, end to end on digits-mlp: one run, shared."""

import argparse
import hashlib
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest

from model_zoo import zoo
from model_zoo.cli import add_commands
from model_zoo.data.catalog import load
from model_zoo.layers import Layer, dense, flatten, standardize
from model_zoo.quantize.building import quantize
from model_zoo.quantize.record import FORMATS, File, Format, Quantized, file_name
from model_zoo.recurrent import gru
from model_zoo.runners import operators, oracle, single
from model_zoo.stepping import Settings, named, train
from wire_protocol.errors import ConfigError
from wire_protocol.params import Vector, params_digest
from wire_protocol.selftest import Batch

pytestmark = pytest.mark.slow

MODEL = zoo.model("digits-mlp")
DATA = load("digits", seed=0, environ={})


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    args = parser.parse_args(["zoo", "quantize", *words])
    code: int = args.run(args)
    return code


@pytest.fixture(scope="module")
def params() -> Vector:
    """A few epochs, enough that quantization has something to lose."""
    rng = np.random.default_rng(0)
    kept = np.flatnonzero(~DATA.held_out)
    picks = (rng.choice(kept, MODEL.batch) for _ in iter(int, 1))
    ones = np.ones(MODEL.batch, np.float32)
    batches = (Batch(DATA.x[pick], DATA.y[pick], ones) for pick in picks)
    outcome = train(
        oracle(MODEL, dtype=np.float32),
        MODEL.layout.split(MODEL.layout.initial(rng)),
        batches=islice(batches, 300),
        settings=Settings(0.05, 0.9),
    )
    return MODEL.layout.join(outcome.params)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, params: Vector) -> Path:
    folder = tmp_path_factory.mktemp("quantized")
    source = folder / "params.npz"
    names = [spec.name for spec in MODEL.layout.specs]
    tensors = dict(zip(names, MODEL.layout.split(params), strict=True))
    np.savez(source, allow_pickle=False, **tensors)
    words = ("--params", str(source), "--calibration", "digits", "--count", "64")
    assert run("digits-mlp", *words, "--out", str(folder)) == 0
    return folder


@pytest.fixture(scope="module")
def record(folder: Path) -> Quantized:
    return Quantized.from_json((folder / "quantized.json").read_bytes())


def by_format(record: Quantized) -> dict[Format, File]:
    return {file.format: file for file in record.files}


def test_the_record_describes_the_folder(
    folder: Path, record: Quantized, params: Vector
) -> None:
    assert set(by_format(record)) == set(FORMATS)
    for form, file in by_format(record).items():
        content = (folder / file_name(form)).read_bytes()
        assert len(content) == file.ref.size
        assert hashlib.sha256(content).hexdigest() == file.ref.sha256
    assert (record.model, record.input_shape) == ("digits-mlp", (64,))
    assert record.params_sha256 == params_digest(params)
    assert (record.calibration, record.judged) == (64, int(DATA.held_out.sum()))


def test_float_artifacts_are_the_definition_with_these_parameters(
    folder: Path, params: Vector
) -> None:
    x = DATA.x[DATA.held_out][: MODEL.batch]
    given = {**named("p", list(MODEL.layout.split(params))), "x": x}
    wanted = oracle(MODEL)("infer", given)["outputs"]
    for name in ("infer-f32.tflite", "infer-f32.onnx"):
        one_by_one = single(folder / name)
        found = np.concatenate([one_by_one(one[np.newaxis])["outputs"] for one in x])
        assert np.allclose(found, wanted, atol=1e-4)


def test_smaller_files_lose_little(record: Quantized) -> None:
    files = by_format(record)
    sizes = {form: file.ref.size for form, file in files.items()}
    assert sizes["tflite-int8"] < 0.45 * sizes["tflite-f32"]
    assert sizes["tflite-f16"] < 0.6 * sizes["tflite-f32"]
    assert sizes["onnx-int8"] < 0.45 * sizes["onnx-f32"]
    for form, file in files.items():
        assert file.judgement is not None
        assert file.judgement.value is not None
        assert file.judgement.value > 0.9
        assert file.judgement.agreement is not None
        assert file.judgement.agreement > 0.98
        assert (file.judgement.max_error == 0) == form.endswith("f32")


def test_int8_files_compute_in_int8(folder: Path) -> None:
    assert operators(folder / "infer-int8.tflite") == {
        *("QUANTIZE", "FULLY_CONNECTED", "DEQUANTIZE")
    }
    file = onnx.load(folder / "infer-int8.onnx")
    weights = {
        one.name: one.data_type for one in file.graph.initializer if len(one.dims) == 2
    }
    assert weights
    assert set(weights.values()) == {onnx.TensorProto.INT8}


@pytest.mark.parametrize(
    ("shape", "between"),
    [((2,), ()), ((6, 2), (flatten(),)), ((6, 2), (gru(4),))],
    ids=["dense", "flattened", "gru"],
)
def test_what_is_standardized_is_quantized_after_that(
    shape: tuple[int, ...], between: tuple[Layer, ...], tmp_path: Path
) -> None:
    """Sun in W/m2 beside a load in kWh: one step of int8 does not fit both."""
    model = replace(
        zoo.model("energy-gru"),
        input_shape=shape,
        layers=(standardize(), *between, dense(1)),
    )
    rng = np.random.default_rng(0)
    scale = np.array([1000, 1], np.float32)
    x = (rng.normal(size=(200, *shape)) * scale).astype(np.float32)
    tensors = model.layout.split(model.layout.initial(rng))
    named_tensors = zip(model.layout.specs, tensors, strict=True)
    (factor,) = (one for spec, one in named_tensors if spec.init == "feature_scale")
    factor[...] = 1 / scale
    quantize(
        model,
        model.layout.join(tensors),
        calibration=x[:100],
        judging=None,
        folder=tmp_path,
        formats=FORMATS,
    )
    said = {
        form: np.concatenate(
            [single(tmp_path / file_name(form))(one[None])["outputs"] for one in x]
        )
        for form in FORMATS
    }
    for form, outputs in said.items():
        wanted = said["tflite-f32"]
        assert np.abs(outputs - wanted).mean() < 0.03 * wanted.std(), form


def test_both_ends_are_float32(folder: Path) -> None:
    for form in FORMATS:
        outputs = single(folder / file_name(form))(DATA.x[:1])["outputs"]
        assert outputs.dtype == np.float32
        assert outputs.shape == (1, 10)


def test_calibration_from_a_file_is_not_judged(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.npz"
    np.savez(mine, x=DATA.x[:8])
    words = ("--params", str(folder / "params.npz"), "--calibration", str(mine))
    more = ("--formats", "onnx-int8", "--out", str(tmp_path / "out"), "--json")
    assert run("digits-mlp", *words, *more) == 0
    plain = json.loads(capsys.readouterr().out)
    found = Quantized.from_json(json.dumps(plain).encode())
    assert (found.calibration, found.judged) == (8, 0)
    assert [file.format for file in found.files] == ["onnx-f32", "onnx-int8"]
    assert all(file.judgement is None for file in found.files)


def test_wrong_words_are_errors(folder: Path, tmp_path: Path) -> None:
    params = ("--params", str(folder / "params.npz"))
    data = ("--calibration", "digits")
    for words, problem in {
        ("digits-mlp", *params, *data, "--formats", "int4"): "--formats has 'int4'",
        ("digit-mlp", *params, *data): "no model is called",
        ("har-cnn1d", *params, *data): "is missing",
        ("digits-mlp", *params, *data, "--count", "0"): "1 example or more",
    }.items():
        with pytest.raises(ConfigError, match=problem):
            run(*words)
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    formats = ("--formats", "onnx-int8", "--out", str(in_the_way))
    with pytest.raises(ConfigError, match="cannot write"):
        run("digits-mlp", *params, *data, *formats)
