"""The manifest of a training artifact: everything a device must know of a model.

The artifact is functional (docs/adr/0005). Its graphs, by name of their inputs and
outputs, with ``pNN`` the parameters in layout order, ``sNN`` the optimizer state
(velocity, shaped like ``pNN``) and ``aNN`` the anchor (the round's base parameters):

* ``train``: ``pNN, sNN, aNN, x[B, ...], y[B] int32, w[B], lr, momentum, mu`` to
  ``loss, pNN, sNN`` (outputs are called ``new_pNN`` and ``new_sNN``)
* ``evaluate``: ``pNN, x, y, w`` to ``loss_sum, correct`` (both weighted sums)
* ``infer``: ``pNN, x`` to ``logits[B, classes]``

A TFLite artifact is one file, ``model.tflite``, with the three as signatures; an ONNX
artifact is ``train.onnx``, ``evaluate.onnx``, ``infer.onnx``. This module is pure.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from wire_protocol.errors import DecodeError
from wire_protocol.params import ParamLayout, ParamSpec

FORMAT: Final = 1
MAX_MANIFEST_BYTES: Final = 256 * 1024
MAX_ARTIFACT_BYTES: Final = 64 * 1024 * 1024
FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "tflite": ("model.tflite",),
    "onnx": ("train.onnx", "evaluate.onnx", "infer.onnx"),
}
"""Which files a runtime family needs."""


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file of the artifact, by content."""

    size: int
    sha256: str

    def __post_init__(self) -> None:
        _check(0 < self.size <= MAX_ARTIFACT_BYTES, f"{self.size} is no file size")
        check_sha256(self.sha256)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Steps every device runs on its own runtime before it joins a round.

    Inputs are the exact integer-hash sequences of ``model_zoo.selftest`` and
    ``edge_agent.selftest``; expected values come from the numpy oracle.

    Attributes:
        losses: Loss before each of the training steps.
        norms: L2 norm of every tensor after the last step.
        eval_loss: Weighted mean loss of the first batch after the last step.
        learning_rate: Of every step.
        momentum: Of every step.
        mu: Weight of the proximal term, anchored at the start.
        tolerance: Greatest relative error of any expected value.
    """

    losses: tuple[float, ...]
    norms: tuple[float, ...]
    eval_loss: float
    learning_rate: float
    momentum: float
    mu: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model's training artifact, described."""

    name: str
    task: str
    input_shape: tuple[int, ...]
    classes: int
    batch: int
    layout: ParamLayout
    files: Mapping[str, FileRef]
    selftest: SelfTest

    def __post_init__(self) -> None:
        _check(0 < len(self.name) <= 64, f"{self.name!r} is no model name")
        _check(self.task == "classification", f"task {self.task!r} is not known here")
        _check(
            0 < len(self.input_shape) <= 3
            and all(0 < side <= 1 << 20 for side in self.input_shape),
            f"{self.input_shape} is no input shape",
        )
        _check(1 < self.classes <= 1 << 16, f"{self.classes} is no number of classes")
        _check(0 < self.batch <= 4096, f"{self.batch} is no batch size")
        known = {name for names in FAMILIES.values() for name in names}
        _check(
            bool(self.files) and set(self.files) <= known,
            f"files are {sorted(known)}, not {sorted(self.files)}",
        )
        _check(
            len(self.selftest.norms) == len(self.layout.specs),
            "the self-test has one norm for each tensor",
        )

    def family_files(self, family: str) -> dict[str, FileRef]:
        """Return the files ``family`` needs; empty when the artifact lacks one."""
        names = FAMILIES[family]
        if any(name not in self.files for name in names):
            return {}
        return {name: self.files[name] for name in names}

    def to_json(self) -> bytes:
        """Canonical JSON: sorted keys, no white space."""
        plain = {"format": FORMAT, **asdict(self)}
        plain["layout"] = plain["layout"]["specs"]
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return text.encode()

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Parse, or raise ``DecodeError``; nothing else, whatever ``raw`` holds."""
        _check(len(raw) <= MAX_MANIFEST_BYTES, f"{len(raw)} bytes are no manifest")
        try:
            plain: dict[str, Any] = json.loads(raw)
            _check(plain["format"] == FORMAT, f"format {FORMAT} is read here")
            test = plain["selftest"]
            return cls(
                name=str(plain["name"]),
                task=str(plain["task"]),
                input_shape=tuple(int(side) for side in plain["input_shape"]),
                classes=int(plain["classes"]),
                batch=int(plain["batch"]),
                layout=ParamLayout(tuple(_spec(spec) for spec in plain["layout"])),
                files={
                    str(name): FileRef(int(ref["size"]), str(ref["sha256"]))
                    for name, ref in plain["files"].items()
                },
                selftest=SelfTest(
                    losses=tuple(float(loss) for loss in test["losses"]),
                    norms=tuple(float(norm) for norm in test["norms"]),
                    eval_loss=float(test["eval_loss"]),
                    learning_rate=float(test["learning_rate"]),
                    momentum=float(test["momentum"]),
                    mu=float(test["mu"]),
                    tolerance=float(test["tolerance"]),
                ),
            )
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise DecodeError(f"not a manifest: {error!r:.200}") from error


def check_sha256(text: str) -> None:
    """Raise ``DecodeError`` unless ``text`` is 64 lower-case hex digits."""
    _check(
        len(text) == 64 and set(text) <= set("0123456789abcdef"),
        f"{text!r:.80} is no SHA-256",
    )


def _spec(plain: Mapping[str, Any]) -> ParamSpec:
    return ParamSpec(
        name=str(plain["name"]),
        shape=tuple(int(side) for side in plain["shape"]),
        init=str(plain["init"]),
        scale=float(plain["scale"]),
        trainable=bool(plain["trainable"]),
    )


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise DecodeError(problem)
