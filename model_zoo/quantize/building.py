"""Build a folder of inference artifacts, measured beside the float ones.

Needs TensorFlow and onnx, like ``model_zoo.building``, and both runtimes to judge.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from model_zoo.building import missing_library
from model_zoo.data.dataset import Examples
from model_zoo.model import Model
from model_zoo.quantize.examples import Judging
from model_zoo.quantize.inference import inference
from model_zoo.quantize.judging import Answers, Judgement, compare
from model_zoo.quantize.record import NAME, File, Format, Quantized, file_name
from model_zoo.runners import single
from wire_protocol.atomic_file import write_atomically
from wire_protocol.manifest import FileRef
from wire_protocol.params import Vector, params_digest


def quantize(
    model: Model,
    params: Vector,
    *,
    calibration: Examples,
    judging: Judging | None,
    folder: Path,
    formats: Sequence[Format],
) -> Quantized:
    """Write the artifacts and their record into ``folder``, and return the record.

    Args:
        model: The definition.
        params: Trained, shape ``[size]``.
        calibration: Examples ``[N, ...]`` of what devices train on.
        judging: Examples to measure the loss with, others than those; or None.
        folder: Made if need be.
        formats: Which; the float32 file of each family comes along.

    Raises:
        ConfigError: A library is missing.
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = _with_references(formats)
    for form, content in _contents(model, params, calibration, formats=wanted).items():
        write_atomically(folder / file_name(form), content)
    answers = {} if judging is None else _answers(folder, judging.x, formats=wanted)
    record = Quantized(
        model=model.name,
        task=model.task,
        input_shape=model.input_shape,
        params_sha256=params_digest(params),
        calibration=len(calibration),
        judged=0 if judging is None else len(judging.x),
        files=tuple(
            File(
                form,
                _ref(folder / file_name(form)),
                None
                if judging is None
                else _judgement(model, form, answers=answers, judging=judging),
            )
            for form in wanted
        ),
    )
    # Last: a record names only what is there.
    write_atomically(folder / NAME, record.to_json())
    return record


def _with_references(formats: Sequence[Format]) -> tuple[Format, ...]:
    families: list[Format] = [_reference(form) for form in formats]
    return tuple(dict.fromkeys([*families, *formats]))


def _reference(form: Format) -> Format:
    return "tflite-f32" if form.startswith("tflite") else "onnx-f32"


def _contents(
    model: Model, params: Vector, calibration: Examples, *, formats: Sequence[Format]
) -> dict[Format, bytes]:
    graph = inference(model, params)
    contents: dict[Format, bytes] = {}
    if "tflite-f32" in formats:
        try:
            from model_zoo.quantize import tflite_files  # noqa: PLC0415
        except ImportError as error:
            raise missing_library("TensorFlow") from error
        for form, precision in tflite_files.PRECISIONS.items():
            if form in formats:
                contents[form] = tflite_files.emit(
                    graph, precision=precision, examples=calibration
                )
    if "onnx-f32" in formats:
        try:
            from model_zoo import onnx_backend  # noqa: PLC0415
            from model_zoo.quantize import onnx_files  # noqa: PLC0415
        except ImportError as error:
            raise missing_library("onnx or onnxruntime") from error
        contents["onnx-f32"] = onnx_backend.emit(graph)
        if "onnx-int8" in formats:
            contents["onnx-int8"] = onnx_files.in_int8(
                contents["onnx-f32"], examples=calibration
            )
    return contents


def _answers(
    folder: Path, x: Examples, *, formats: Sequence[Format]
) -> dict[Format, Answers]:
    answers: dict[Format, Answers] = {}
    for form in formats:
        run = single(folder / file_name(form))
        said = [run(example[np.newaxis]) for example in x]
        score = [one["score"] for one in said if "score" in one]
        answers[form] = Answers(
            np.concatenate([one["outputs"] for one in said]),
            np.concatenate(score) if score else None,
        )
    return answers


def _judgement(
    model: Model, form: Format, *, answers: Mapping[Format, Answers], judging: Judging
) -> Judgement:
    return compare(model.task, answers[_reference(form)], answers[form], y=judging.y)


def _ref(path: Path) -> FileRef:
    content = path.read_bytes()
    return FileRef(len(content), hashlib.sha256(content).hexdigest())
