"""``quantized.json``: what lies beside it, from which parameters, and what they lose.

Whoever installs or measures the files reads it; it may come from anywhere. Pure.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal, Self, cast, get_args

from model_zoo.metrics import METRICS
from model_zoo.quantize.judging import Judgement
from wire_protocol.errors import DecodeError
from wire_protocol.fields import Fields, json_object
from wire_protocol.manifest import MAX_ARTIFACT_BYTES, TASKS, FileRef, Task

NAME: Final = "quantized.json"
FORMAT: Final = 1
MAX_BYTES: Final = 64 * 1024

Format = Literal["tflite-int8", "tflite-f16", "tflite-f32", "onnx-int8", "onnx-f32"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)


def file_name(form: Format) -> str:
    """Return the name of a format's file.

    >>> file_name("onnx-int8")
    'infer-int8.onnx'
    """
    family, kind = form.split("-")
    return f"infer-{kind}.{family}"


@dataclass(frozen=True, slots=True)
class File:
    """One artifact: size and digest, and what it loses (None: nothing to judge by)."""

    format: Format
    ref: FileRef
    judgement: Judgement | None = None


@dataclass(frozen=True, slots=True)
class Quantized:
    """The record of one folder.

    Attributes:
        model: Its name.
        task: What it does.
        input_shape: Of the one float32 example in ``x[1, ...]``.
        params_sha256: Of the float32 parameters (``wire_protocol.params``).
        calibration: Examples that set the int8 ranges.
        judged: Examples the loss was measured on.
        files: The artifacts.
    """

    model: str
    task: Task
    input_shape: tuple[int, ...]
    params_sha256: str
    calibration: int
    judged: int
    files: tuple[File, ...]

    def to_json(self) -> bytes:
        """Return the file's content."""
        plain = {
            "format": FORMAT,
            "model": self.model,
            "task": self.task,
            "input_shape": list(self.input_shape),
            "params_sha256": self.params_sha256,
            "calibration": self.calibration,
            "judged": self.judged,
            "files": [
                {
                    "format": file.format,
                    "name": file_name(file.format),
                    "size": file.ref.size,
                    "sha256": file.ref.sha256,
                    "judgement": file.judgement and asdict(file.judgement),
                }
                for file in self.files
            ],
        }
        return json.dumps(plain, indent=2, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Parse a file, or raise ``DecodeError``; nothing else."""
        _check(len(raw) <= MAX_BYTES, f"it is at most {MAX_BYTES} bytes")
        plain = json_object(raw, what=NAME)
        fields = Fields(plain, owner=NAME)
        fields.whole("format", least=FORMAT, most=FORMAT)
        files = tuple(
            _file(Fields(one, owner=f"{NAME}.files"), one.get("judgement"))
            for one in _objects(plain.get("files"))
        )
        _check(
            len({file.format for file in files}) == len(files),
            "every format is named once",
        )
        task = fields.text("task")
        _check(task in TASKS, f"{task!r:.40} is none of {TASKS}")
        return cls(
            model=fields.text("model", longest=64),
            task=cast("Task", task),
            input_shape=_shape(plain.get("input_shape")),
            params_sha256=fields.digest("params_sha256"),
            calibration=fields.whole("calibration", least=1),
            judged=fields.whole("judged"),
            files=files,
        )


def _file(fields: Fields, judged: object) -> File:
    form = cast("Format", fields.text("format"))
    _check(form in FORMATS, f"{form!r:.40} is none of {FORMATS}")
    # the name is the format's: a record cannot point elsewhere
    _check(fields.text("name") == file_name(form), f"{form} is {file_name(form)}")
    ref = FileRef(
        fields.whole("size", least=1, most=MAX_ARTIFACT_BYTES), fields.digest("sha256")
    )
    return File(form, ref, None if judged is None else _judgement(judged))


def _judgement(plain: object) -> Judgement:
    if not isinstance(plain, dict):
        raise DecodeError(f"{NAME}: a judgement is an object or null")
    fields = Fields(plain, owner=f"{NAME}.judgement")

    def maybe(name: str) -> float | None:
        return None if plain.get(name) is None else fields.real(name)

    metric = fields.text("metric")
    known = {one.name for one in METRICS.values()}
    _check(metric in known, f"{metric!r:.40} is no metric")
    return Judgement(
        metric=metric,
        value=maybe("value"),
        reference=maybe("reference"),
        loss=maybe("loss"),
        agreement=maybe("agreement"),
        max_error=fields.real("max_error", least=0),
    )


def _objects(plain: object) -> list[dict[str, object]]:
    if not isinstance(plain, list) or len(plain) > len(FORMATS):
        raise DecodeError(f"{NAME}: files is a list of up to {len(FORMATS)}")
    if not all(isinstance(one, dict) for one in plain):
        raise DecodeError(f"{NAME}: files is a list of objects")
    return plain


def _shape(plain: object) -> tuple[int, ...]:
    if not isinstance(plain, list) or not 0 < len(plain) <= 3:
        raise DecodeError(f"{NAME}: input_shape is 1 to 3 sides")
    if not all(type(side) is int and 0 < side <= 1 << 20 for side in plain):
        raise DecodeError(f"{NAME}: a side of input_shape is a positive whole number")
    return tuple(plain)


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise DecodeError(f"{NAME}: {problem}")
